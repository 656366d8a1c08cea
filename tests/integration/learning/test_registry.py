"""Releases: bundles in, signed archives out."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.audit import list_entries
from cloud.db.session import Database
from cloud.db.tables import ReleaseState
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.registry import Registry, write_archive
from cloud.settings import Settings
from cloud.tuf_repository import TufRepository


@pytest.fixture
def repository(settings: Settings) -> TufRepository:
    made = TufRepository(settings.tuf)
    made.ensure()
    return made


@pytest.fixture
def registry(database: Database, repository: TufRepository, settings: Settings) -> Registry:
    return Registry(database, repository=repository, bundles_dir=settings.retraining.bundles_dir)


def test_a_bundle_becomes_a_candidate_and_keeps_its_float_checkpoint(
    registry: Registry, make_bundle: Callable[..., Path]
) -> None:
    folder = make_bundle("baseline", "bolt", "scratch")
    release = registry.add(folder, actor="anna")
    assert (release.release, release.state) == (1, ReleaseState.CANDIDATE)
    assert release.metrics["map50"] == 0.7
    assert [category["name"] for category in release.categories] == ["bolt", "scratch"]
    kept = registry.bundle_dir(release.bundle_id)
    assert (kept / "float" / "weights.weights.h5").exists()
    assert registry.add(folder, actor="anna").release == 2


def test_an_approved_release_is_signed_without_its_float_checkpoint(
    registry: Registry,
    repository: TufRepository,
    make_bundle: Callable[..., Path],
    database: Database,
) -> None:
    release = registry.approve(registry.add(make_bundle(), actor="anna").release, actor="ben")
    custom = {"release": 1, "bundle_id": release.bundle_id}
    assert repository.targets() == {"plate/r000001.tar": custom}
    (archive,) = repository.targets_folder.rglob("*.tar")
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["golden/0.png", "manifest.json", "model.xml"]
    assert registry.approve(1, actor="ben").approved_by == "ben"
    actions = [(entry.actor, entry.action) for entry in list_entries(database, limit=9)]
    assert actions == [("ben", "approve release"), ("anna", "add release")]


def test_the_same_bundle_gives_the_same_archive(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_bundle()
    write_archive(folder, tmp_path / "a.tar")
    (folder / "model.xml").touch()
    write_archive(folder, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_damaged_bundle_is_refused_when_it_comes_and_when_it_is_signed(
    registry: Registry, make_bundle: Callable[..., Path]
) -> None:
    folder = make_bundle()
    release = registry.add(folder, actor="anna")
    (folder / "model.xml").write_text("changed")
    with pytest.raises(InvalidError, match=r"model\.xml was changed"):
        registry.add(folder, actor="anna")
    (registry.bundle_dir(release.bundle_id) / "model.xml").write_text("changed")
    with pytest.raises(InvalidError, match=r"model\.xml was changed"):
        registry.approve(release.release, actor="anna")
    assert registry.get(release.release).state is ReleaseState.CANDIDATE


def test_going_back_makes_a_new_higher_release_of_the_old_bundle(
    registry: Registry, repository: TufRepository, make_bundle: Callable[..., Path]
) -> None:
    for text in ("old", "new"):
        registry.approve(registry.add(make_bundle(text), actor="anna").release, actor="anna")
    again = registry.again(1, actor="anna")
    assert (again.release, again.rollback_of, again.state) == (3, 1, ReleaseState.APPROVED)
    assert again.bundle_id == registry.get(1).bundle_id != registry.get(2).bundle_id
    assert "plate/r000003.tar" in repository.targets()


def test_a_withdrawn_release_is_gone_from_the_repository_and_stays_gone(
    registry: Registry, repository: TufRepository, make_bundle: Callable[..., Path]
) -> None:
    registry.approve(registry.add(make_bundle(), actor="anna").release, actor="anna")
    assert registry.withdraw(1, actor="ben").state is ReleaseState.WITHDRAWN
    assert repository.targets() == {}
    with pytest.raises(ConflictError, match="was withdrawn"):
        registry.approve(1, actor="anna")
    with pytest.raises(ConflictError, match="only one in use"):
        registry.again(1, actor="anna")
    with pytest.raises(NotFoundError):
        registry.get(9)
