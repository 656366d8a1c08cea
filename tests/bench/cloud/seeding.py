"""A plant's history in PostgreSQL: what ingest and reviewers would have left there.

Rows are made by the server itself (generate_series) and counted by `cloud.db.recount`'s own words,
so that ten million take minutes. The newest come first: a longer history reaches further back.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from cloud.db.recount import recount_tallies

ROWS_A_DAY = 27_400
"""Ten million in a year: twenty cells with a part a minute each."""
NUM_CELLS = 20
CATEGORIES = ("missing_bolt", "missing_label", "scratch", "torn_label", "wrong_screw")

_RESULTS = """
INSERT INTO results (
    cell, boot_id, seq, created_at, received_at, result_id, job_id, trigger_id, part_id, view,
    verdict, is_partial, result_state, reasons, detections, recipe_id, recipe_version, release,
    bundle_id, model_name, processing_ms, inference_ms, image_width_px, image_height_px,
    image_sha256, hard_reasons, is_simulated, is_first
)
SELECT
    'plant/hall/line' || n % 4 || '/cell' || n % :num_cells,
    md5('boot' || n % :num_cells || '-' || n / 500000)::uuid, n, at, at + interval '1 second',
    md5('result' || n)::uuid, md5('job' || n)::uuid, 'T' || n, 'SN' || lpad(n::text, 9, '0'),
    'main', verdict, false, 'completed',
    CASE verdict WHEN 'ok' THEN '[]'::jsonb ELSE jsonb_build_array(jsonb_build_object(
        'code', CASE verdict WHEN 'not_ok' THEN 'defect' ELSE 'blurred' END,
        'category', CASE verdict WHEN 'not_ok' THEN category END, 'object_name', null,
        'text', '')) END,
    '[{"category": "bolt", "score": 0.97, "bbox": [10.5, 20.5, 30.5, 31.0]},
      {"category": "bolt", "score": 0.96, "bbox": [110.5, 20.5, 30.5, 31.0]},
      {"category": "label", "score": 0.99, "bbox": [60.0, 90.5, 120.5, 61.0]}]'::jsonb,
    CASE n % 5 WHEN 0 THEN 'lid' ELSE 'plate' END, 1, 1, '4f1d2c7a9b3e6058', 'plate',
    12 + n % 17, 6, 640, 480, CASE WHEN hard IS NOT NULL THEN md5('a' || n) || md5('b' || n) END,
    CASE WHEN hard IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(hard) END, true, true
FROM (
    SELECT n, at, verdict,
        (CAST(:categories AS text[]))[1 + (h / 7) % 5] AS category,
        CASE WHEN verdict <> 'ok' AND h % 3 = 0 THEN 'reject'
             WHEN h % 100 = 50 THEN 'audit' WHEN h % 200 = 51 THEN 'uncertain'
             WHEN h % 100000 = 52 THEN 'novelty' END AS hard
    FROM (
        SELECT n, h, at, CASE WHEN h % 1000 < 30 THEN 'not_ok'
            WHEN h % 1000 = 999 THEN 'not_decidable' ELSE 'ok' END AS verdict
        FROM (
            SELECT n, abs(hashint8(n)::bigint) AS h,
                CAST(:newest AS timestamptz) - n * interval '1 second' * :every_s AS at
            FROM generate_series(CAST(:low AS bigint), CAST(:high AS bigint) - 1) AS n
        ) AS numbered
    ) AS judged
) AS made"""
_FINDINGS = """
INSERT INTO findings (cell, boot_id, seq, position, code, category, created_at)
SELECT cell, boot_id, seq, 0, reasons -> 0 ->> 'code', reasons -> 0 ->> 'category', created_at
FROM results WHERE id > :before AND seq >= :low AND seq < :high AND verdict <> 'ok'"""
_IMAGES = """
INSERT INTO images (
    sha256, content_type, num_bytes, width_px, height_px, cell, boot_id, seq, created_at,
    received_at, result_id, part_id, view, hard_reasons, value, status, revision, reviewer,
    reviewed_at
)
SELECT image_sha256, 'image/jpeg', 60000, 640, 480, cell, boot_id, seq, created_at, received_at,
    result_id, part_id, view, hard_reasons,
    CASE hard_reasons ->> 0 WHEN 'reject' THEN 2 WHEN 'audit' THEN 3 ELSE 1 END,
    CASE WHEN seq % 10 = 3 THEN 'labelled' WHEN seq % 10 = 4 THEN 'rejected' ELSE 'pending' END,
    CASE WHEN seq % 10 IN (3, 4) THEN 1 ELSE 0 END,
    CASE WHEN seq % 10 IN (3, 4) THEN 'anna' END, CASE WHEN seq % 10 IN (3, 4) THEN received_at END
FROM results WHERE id > :before AND seq >= :low AND seq < :high AND image_sha256 IS NOT NULL"""
_ANNOTATIONS = """
INSERT INTO annotations (image_sha256, revision, decision, boxes, reviewer, created_at)
SELECT sha256, 1, status, CASE WHEN seq % 100 = 3
    THEN '[{"category": "scratch", "bbox": [1, 1, 9, 9]}]'::jsonb
    ELSE '[{"category": "bolt", "bbox": [1, 1, 9, 9]}]'::jsonb END, 'anna', received_at
FROM images WHERE seq >= :low AND seq < :high AND revision = 1"""
_AUDIT = """
INSERT INTO audit_log (at, actor, action, subject, details)
SELECT reviewed_at, 'anna', 'label image', sha256, '{}'::jsonb
FROM images WHERE seq >= :low AND seq < :high AND revision = 1"""
_LIKENESSES = """
INSERT INTO likenesses (image_sha256, cell, view, created_at, picture_print, group_id)
SELECT sha256, cell, view, created_at, decode(repeat(sha256, 16), 'hex'), sha256
FROM images WHERE seq >= :low AND seq < :high"""
_TRUTHS = """
INSERT INTO truths (cell, boot_id, seq, created_at, received_at, part_id, actual, said)
SELECT cell, boot_id, seq + 1000000000, created_at + interval '1 hour', received_at, part_id,
    'not_ok', verdict
FROM results WHERE id > :before AND seq >= :low AND seq < :high AND seq % 2000 = 7"""
_DEAD = """
INSERT INTO dead_letters (digest, received_at, topic, cell, reason, num_bytes, payload)
SELECT md5('d' || n) || md5('e' || n), CAST(:newest AS timestamptz) - n * interval '1 hour',
    'sightline/v1/plant/hall/line0/cell0/up/event', 'plant/hall/line0/cell0', 'not JSON', 3,
    '\\x7b7b7b'::bytea
FROM generate_series(CAST(:low AS bigint) / 5000, CAST(:high AS bigint) / 5000 - 1) AS n"""
_EVENTS = """
INSERT INTO station_events (cell, boot_id, seq, created_at, received_at, code, text)
SELECT cell, boot_id, seq + 2000000000, created_at, received_at, 'camera_fault', 'camera is back'
FROM results WHERE id > :before AND seq >= :low AND seq < :high AND seq % 500 = 9"""
_STEPS = (
    _FINDINGS, _IMAGES, _ANNOTATIONS, _AUDIT, _LIKENESSES, _TRUTHS, _DEAD, _EVENTS,
)  # fmt: skip


def fill(connection: Connection, *, low: int, high: int, newest: datetime) -> None:
    """Add results number ``low`` to ``high``, counted back from the newest."""
    values = {
        "low": low,
        "high": high,
        "newest": newest,
        "every_s": 86_400 / ROWS_A_DAY,
        "num_cells": NUM_CELLS,
        # What was added before need not be looked through.
        "before": connection.scalar(text("SELECT coalesce(max(id), 0) FROM results")),
    }
    if low == 0:
        _add_places(connection, newest)
    connection.execute(text(_RESULTS), values | {"categories": list(CATEGORIES)})
    for step in _STEPS:
        known = {name: value for name, value in values.items() if f":{name}" in step}
        connection.execute(text(step), known)


def drop_indexes(connection: Connection) -> None:
    """Those of results are made once more at the end: that is faster than row by row."""
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS bench_indexes (name text PRIMARY KEY, definition text)"
    )
    connection.exec_driver_sql(
        "INSERT INTO bench_indexes SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename = 'results' AND indexname NOT IN ('pk_results', 'uq_results_cell')"
        " ON CONFLICT (name) DO NOTHING"
    )
    for name in connection.scalars(text("SELECT name FROM bench_indexes")).all():
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")


def finish(connection: Connection) -> None:
    """Make the indexes again and count everything."""
    for line in connection.scalars(text("SELECT definition FROM bench_indexes")).all():
        connection.exec_driver_sql(line)
    connection.exec_driver_sql("DELETE FROM bench_indexes")
    recount_tallies(connection)


def _add_places(connection: Connection, newest: datetime) -> None:
    connection.execute(
        text(
            "INSERT INTO cells (cell, first_seen_at, mode, status_at, reported_at)"
            " SELECT 'plant/hall/line' || n % 4 || '/cell' || n, :newest, 'follow',"
            " :newest, :newest"
            " FROM generate_series(0, :last) AS n"
        ),
        {"newest": newest, "last": NUM_CELLS - 1},
    )
    for position, name in enumerate(("bolt", "label", *CATEGORIES)):
        connection.execute(
            text(
                "INSERT INTO categories (name, kind, position, created_at, created_by)"
                " VALUES (:name, :kind, :position, :at, 'bench')"
            ),
            {
                "name": name,
                "kind": "object" if position < 2 else "defect",
                "position": position,
                "at": datetime.now(UTC),
            },
        )
