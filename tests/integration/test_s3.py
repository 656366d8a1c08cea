"""Pictures and the lake on S3, against a server of the test's own."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.analytics.export import export_lake
from cloud.analytics.lake import Lake
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.errors import NotFoundError, UnavailableError
from cloud.image_store import ImageStore
from cloud.tallies import Tallies, TallyKey, quarter_of
from cloud.tally_store import add_tallies

BUCKET = "sightline"


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """An S3 server; s3fs finds it through the environment, as in a plant with MinIO."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(BUCKET)
    yield
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    server.stop()


@pytest.mark.usefixtures("s3")
def test_pictures_are_stored_found_listed_and_removed() -> None:
    store = ImageStore(f"s3://{BUCKET}/images")
    assert not store.is_local
    sha256 = store.put(b"picture")
    assert store.put(b"picture") == sha256
    assert (store.get(sha256), store.exists(sha256)) == (b"picture", True)
    again = ImageStore(f"s3://{BUCKET}/images")
    assert list(again.all_hashes()) == [sha256]
    again.remove(sha256)
    again.remove(sha256)
    with pytest.raises(NotFoundError):
        store.get(sha256)


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_storage_that_does_not_answer() -> None:
    store = ImageStore("s3://nobody-made-this/images")
    with pytest.raises(UnavailableError, match="written"):
        store.put(b"picture")


@pytest.mark.usefixtures("s3")
def test_a_lake_on_s3_keeps_its_days(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/cloud.db")
    migrate(database)
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for verdict, written in (("ok", 1), ("not_ok", 1)):
        with database.write() as session:
            key = TallyKey("verdict", "a/b/c/d", quarter_of(start), "plate", verdict)
            add_tallies(session, Tallies({key: 1}))
        assert export_lake(database, f"s3://{BUCKET}/lake").written == written
        assert export_lake(database, f"s3://{BUCKET}/lake").written == 0
    lake = Lake(f"s3://{BUCKET}/lake")
    assert [str(day) for day in lake.days()] == ["2026-01-31"]
    assert len(lake.filesystem.find(lake.path("results"))) == 1
    database.close()
