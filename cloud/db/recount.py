"""Every count made anew from the rows: when counting begins on a database that has rows.

Plain SQL, since a migration runs it too: whoever changes these tables gives the migration its own
copy. Rows that retention has dropped cannot be counted again: only for databases that have all.
"""

from sqlalchemy import Connection

_POSTGRESQL = {
    "quarter": "CAST(floor(extract(epoch FROM {moment})) AS bigint) / 900 * 900",
    "texts": "jsonb_array_elements_text({json}) AS item(value)",
    "boxes": "jsonb_array_elements({json}) AS item(value)",
    "category": "item.value ->> 'category'",
    "text": "CAST({json} AS text)",
    "last": "greatest",
}
_SQLITE = {
    "quarter": "CAST(strftime('%s', {moment}) AS INTEGER) / 900 * 900",
    "texts": "json_each({json}) AS item",
    "boxes": "json_each({json}) AS item",
    "category": "json_extract(item.value, '$.category')",
    "text": "{json}",
    "last": "max",
}

_FIRSTS = """
UPDATE results SET is_first = {true} WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY cell, part_id ORDER BY created_at, boot_id, seq
        ) AS place FROM results WHERE NOT is_partial
    ) AS ranked WHERE place = 1
)"""
_MARKS = """
INSERT INTO hard_marks (cell, boot_id, seq, reason, created_at)
SELECT DISTINCT results.cell, results.boot_id, results.seq, item.value, results.created_at
FROM results, {texts}"""
_BOOTS = """
INSERT INTO boot_counts (cell, boot_id, num_records, last_seq)
SELECT cell, boot_id, count(*), max(seq) FROM (
    SELECT cell, boot_id, seq FROM results UNION ALL
    SELECT cell, boot_id, seq FROM truths UNION ALL
    SELECT cell, boot_id, seq FROM station_events
) AS records GROUP BY cell, boot_id"""
_TALLY = """
INSERT INTO tallies (span_s, kind, cell, start_s, recipe_id, name, detail, n)
SELECT 900, '{kind}', {table}.cell, {quarter}, {recipe}, {name}, {detail}, {amount}
FROM {source} {where} GROUP BY 3, 4, 5, 6, 7"""
_LONGER = """
INSERT INTO tallies (span_s, kind, cell, start_s, recipe_id, name, detail, n)
SELECT {span_s}, kind, cell, start_s / {span_s} * {span_s}, recipe_id, name, detail, sum(n)
FROM tallies WHERE span_s = {shorter_s} GROUP BY 2, 3, 4, 5, 6, 7"""
_IS_BAD = """EXISTS (
    SELECT 1 FROM {boxes} JOIN categories ON categories.name = {category}
    WHERE categories.kind = 'defect')"""


def recount(connection: Connection) -> None:
    """Count everything again; nothing may be written meanwhile."""
    false, true = ("0", "1") if connection.dialect.name == "sqlite" else ("false", "true")
    connection.exec_driver_sql(f"UPDATE results SET is_first = {false} WHERE is_first")  # noqa: S608
    connection.exec_driver_sql(_FIRSTS.format(true=true))
    recount_tallies(connection)


def recount_tallies(connection: Connection) -> None:
    """The same where it is known which results are the first of their parts."""
    words = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    for table in ("tallies", "boot_counts", "hard_marks"):
        connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    for statement in (
        _MARKS.format(texts=words["texts"].format(json="results.hard_reasons")),
        _BOOTS,
        *_tallies(words),
        *(
            _LONGER.format(span_s=span_s, shorter_s=shorter_s)
            for shorter_s, span_s in ((900, 3_600), (3_600, 86_400), (86_400, 2_592_000))
        ),
    ):
        # A percent sign would begin a parameter of psycopg's; SQLite's driver knows none.
        connection.exec_driver_sql(statement)


def _tallies(words: dict[str, str]) -> list[str]:
    def tally(kind: str, name: str, *, table: str = "results", **parts: str) -> str:
        quarter = words["quarter"].format(moment=f"{table}.created_at")
        plain = {
            "recipe": "results.recipe_id" if table in {"results", "findings"} else "''",
            "detail": "''",
            "amount": "count(*)",
            "source": table,
            "where": "",
        }
        return _TALLY.format(kind=kind, name=name, table=table, quarter=quarter, **(plain | parts))

    of_result = (
        "findings JOIN results ON results.cell = findings.cell"
        " AND results.boot_id = findings.boot_id AND results.seq = findings.seq"
    )
    reasons = words["texts"].format(json="images.hard_reasons")
    labelled = (
        "images JOIN results ON results.result_id = images.result_id"
        " JOIN annotations ON annotations.image_sha256 = images.sha256"
        " AND annotations.revision = images.revision"
    )
    is_bad = _IS_BAD.format(
        boxes=words["boxes"].format(json="annotations.boxes"), category=words["category"]
    )
    is_audit = f"position('\"audit\"' IN {words['text'].format(json='images.hard_reasons')}) > 0"
    if words is _SQLITE:
        is_audit = "instr(images.hard_reasons, '\"audit\"') > 0"
    return [
        tally("verdict", "results.verdict"),
        tally("part", "results.verdict", where="WHERE NOT results.is_partial"),
        tally("first", "results.verdict", where="WHERE results.is_first"),
        tally(
            "cause", "findings.code", table="findings", source=of_result,
            detail="coalesce(findings.category, '')",
        ),
        tally("truth", "truths.actual", table="truths", detail="coalesce(truths.said, '')"),
        tally("hard", "item.value", table="images", source=f"images, {reasons}"),
        tally("review", "images.status", table="images"),
        tally("bytes", "images.status", table="images", amount="sum(images.num_bytes)"),
        tally(
            "look", "CASE results.verdict WHEN 'ok' THEN 'audit' ELSE 'reject' END",
            table="images", source=labelled,
            detail=f"CASE WHEN {is_bad} THEN 'bad' ELSE 'good' END",
            where="WHERE images.status = 'labelled' AND (results.verdict = 'not_ok'"
            f" OR (results.verdict = 'ok' AND {is_audit}))",
        ),
    ]  # fmt: skip
