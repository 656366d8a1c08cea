"""Models on the cell's disk: always something good to boot from."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.errors import StorageError, UpdateError
from edge_agent.model_store import ModelStore
from models.contract.bundle import BundleManifest, Category, ModelRef, bundle_id_of, hash_files
from models.contract.messages import DesiredModel, FollowMode

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_bundle(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.xml").write_text(content)
    files = hash_files(folder)
    manifest = BundleManifest(
        bundle_id=bundle_id_of(files),
        name="plate",
        created_at=NOON,
        categories=(Category(name="bolt"),),
        thresholds={"bolt": 0.5},
        files=files,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def install(store: ModelStore, content: str, release: int) -> ModelRef:
    target = store.install(make_bundle(store.incoming / content, content))
    return ModelRef(release=release, bundle_id=target.name, name="plate")


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "baseline", "baseline")


@pytest.fixture
def store(tmp_path: Path, baseline: Path) -> ModelStore:
    return ModelStore(tmp_path / "store", baseline=baseline)


def restarted(store: ModelStore, baseline: Path) -> ModelStore:
    return ModelStore(store.incoming.parent, baseline=baseline)


def boots(store: ModelStore) -> list[int]:
    return [stored.ref.release for stored in store.boot_order()]


def test_empty_store_boots_the_baseline_as_release_0(store: ModelStore, baseline: Path) -> None:
    (stored,) = store.boot_order()
    assert (stored.ref.release, stored.bundle_dir) == (0, baseline)


def test_last_good_model_boots_first_after_a_restart(store: ModelStore, baseline: Path) -> None:
    for release in (3, 5):
        store.promote(install(store, f"model {release}", release))
    assert boots(restarted(store, baseline)) == [5, 3, 0]


def test_installed_but_not_yet_good_model_does_not_boot(store: ModelStore, baseline: Path) -> None:
    install(store, "model", 3)
    assert boots(restarted(store, baseline)) == [0]


def test_changed_bundle_is_refused(store: ModelStore) -> None:
    folder = make_bundle(store.incoming / "new", "model")
    (folder / "model.xml").write_text("tampered")
    with pytest.raises(UpdateError, match=r"model\.xml was changed"):
        store.install(folder)


def test_bundle_damaged_on_the_disk_is_passed_over(store: ModelStore, baseline: Path) -> None:
    ref = install(store, "model", 3)
    store.promote(ref)
    folder = store.find(ref.bundle_id)
    assert folder is not None
    (folder / "model.xml").write_text("bit rot")
    assert boots(restarted(store, baseline)) == [0]


def test_quarantined_bundle_never_boots_again(store: ModelStore, baseline: Path) -> None:
    ref = install(store, "model", 3)
    store.promote(ref)
    store.quarantine(ref, "NaN")
    again = restarted(store, baseline)
    assert boots(again) == [0]
    assert again.quarantine_cause(ref.bundle_id) == "NaN"


def test_unfinished_download_is_swept_at_start(store: ModelStore, baseline: Path) -> None:
    make_bundle(store.incoming / "half", "half")
    assert list(restarted(store, baseline).incoming.iterdir()) == []


def test_death_during_the_canary_window_is_forgiven_once(store: ModelStore, baseline: Path) -> None:
    ref = install(store, "model", 3)
    store.open_trial(ref)
    second = restarted(store, baseline)
    assert boots(second) == [0]
    assert not second.is_quarantined(ref.bundle_id)
    second.open_trial(ref)
    assert restarted(second, baseline).is_quarantined(ref.bundle_id)


def test_orderly_stop_during_the_canary_window_does_not_count(
    store: ModelStore, baseline: Path
) -> None:
    ref = install(store, "model", 3)
    for _ in range(4):
        store.open_trial(ref)
        store.close_trial()
    assert not restarted(store, baseline).is_quarantined(ref.bundle_id)


def test_pin_survives_a_restart(store: ModelStore, baseline: Path) -> None:
    desired = DesiredModel(
        model=ModelRef(release=2, bundle_id="0" * 16, name="plate"),
        rollout_id="R1",
        mode=FollowMode.PIN,
        issued_at=NOON,
    )
    store.remember_desired(desired)
    assert restarted(store, baseline).state.desired == desired


def test_crash_while_the_state_is_written_leaves_the_old_state(
    store: ModelStore, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote(install(store, "model", 3))
    new = install(store, "newer", 4)

    def power_cut(_self: Path, _target: Path) -> Path:
        raise OSError(5, "power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_cut)
        with pytest.raises(StorageError, match="power cut"):
            store.promote(new)
    assert boots(restarted(store, baseline)) == [3, 0]


def test_unreadable_state_falls_back_to_the_baseline(store: ModelStore, baseline: Path) -> None:
    store.promote(install(store, "model", 3))
    (store.incoming.parent / "state.json").write_text("{")
    assert boots(restarted(store, baseline)) == [0]


def test_garbage_is_what_is_neither_good_nor_wanted(store: ModelStore) -> None:
    kept = install(store, "good", 3)
    store.promote(kept)
    gone = install(store, "forgotten", 2)
    store.collect_garbage()
    assert store.find(kept.bundle_id) is not None
    assert store.find(gone.bundle_id) is None


def test_baseline_is_found_by_its_identity_and_never_collected(
    store: ModelStore, baseline: Path
) -> None:
    (stored,) = store.boot_order()
    store.collect_garbage()
    assert store.find(stored.ref.bundle_id) == baseline
    assert baseline.is_dir()
