import hashlib
from pathlib import Path

import pytest

from cloud.errors import NotFoundError, StorageFullError
from cloud.image_store import ImageStore


@pytest.mark.parametrize("url", ["folder", "memory://pictures"])
def test_a_picture_is_found_by_its_hash(url: str, tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path / url) if "://" not in url else url)
    sha256 = store.put(b"picture")
    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    assert store.put(b"picture") == sha256
    assert (store.get(sha256), store.exists(sha256)) == (b"picture", True)
    assert list(store.all_hashes()) == [sha256]


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "G" * 64])
def test_what_is_not_stored_or_no_hash_is_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        ImageStore(str(tmp_path)).get(name)


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path), min_free_bytes=2**62)
    with pytest.raises(StorageFullError):
        store.put(b"picture")
    assert list(tmp_path.rglob("*")) == [] or not any(p.is_file() for p in tmp_path.rglob("*"))
