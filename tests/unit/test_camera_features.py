"""Camera features by SFNC name: set for a view, put back after it, refused with what to do."""

from collections.abc import Sequence

import pytest

from edge_agent.camera_features import FeatureInfo, FeatureKeeper, FeatureKind, FeatureValue
from edge_agent.errors import FeatureRefusedError

INFOS = {
    "ExposureTime": FeatureInfo(FeatureKind.FLOAT, 10, 100_000),
    "Width": FeatureInfo(FeatureKind.INTEGER, 16, 640),
    "ReverseX": FeatureInfo(FeatureKind.BOOLEAN),
    "GainSelector": FeatureInfo(FeatureKind.ENUMERATION, choices=("Analog", "Digital")),
    "Gain": FeatureInfo(FeatureKind.FLOAT, 0, 48),
    "DeviceUserID": FeatureInfo(FeatureKind.STRING),
}


class Device:
    """Each GainSelector has a gain of its own."""

    camera_id = "cam"

    def __init__(self) -> None:
        self.values: dict[str, FeatureValue] = {
            "ExposureTime": 5000.0,
            "Width": 640,
            "ReverseX": False,
            "GainSelector": "Analog",
            "DeviceUserID": "top",
        }
        self.gains: dict[FeatureValue, FeatureValue] = {"Analog": 1.0, "Digital": 2.0}
        self.num_writes = 0

    def feature_names(self) -> Sequence[str]:
        return list(INFOS)

    def feature_info(self, name: str) -> FeatureInfo | None:
        return INFOS.get(name)

    def read_feature(self, name: str) -> FeatureValue:
        return self.gains[self.values["GainSelector"]] if name == "Gain" else self.values[name]

    def write_feature(self, name: str, value: FeatureValue) -> None:
        self.num_writes += 1
        if name == "Gain":
            self.gains[self.values["GainSelector"]] = value
        else:
            self.values[name] = value


@pytest.fixture
def device() -> Device:
    return Device()


def test_what_one_view_sets_the_next_view_does_not_inherit(device: Device) -> None:
    keeper = FeatureKeeper()
    keeper.bring(device, {"ExposureTime": 800, "ReverseX": True})
    assert (device.values["ExposureTime"], device.values["ReverseX"]) == (800.0, True)
    keeper.bring(device, {"ReverseX": True})
    assert (device.values["ExposureTime"], device.values["ReverseX"]) == (5000.0, True)
    keeper.bring(device, {})
    assert device.values == Device().values


def test_views_features_go_before_those_of_the_settings_which_come_back(device: Device) -> None:
    keeper = FeatureKeeper({"ExposureTime": 3000, "Width": 320})
    keeper.bring(device, {})
    keeper.bring(device, {"ExposureTime": 800})
    assert (device.values["ExposureTime"], device.values["Width"]) == (800.0, 320)
    keeper.bring(device, {})
    assert device.values["ExposureTime"] == 3000.0


def test_same_view_again_costs_the_camera_nothing(device: Device) -> None:
    keeper = FeatureKeeper({"Width": 320})
    keeper.bring(device, {"ExposureTime": 800})
    before = device.num_writes
    keeper.bring(device, {"ExposureTime": 800})
    assert device.num_writes == before
    keeper.bring(device, {"ExposureTime": 900})
    assert device.num_writes == before + 1


def test_selected_features_are_put_back_under_their_own_selector(device: Device) -> None:
    keeper = FeatureKeeper()
    keeper.bring(device, {"GainSelector": "Digital", "Gain": 9})
    keeper.bring(device, {"GainSelector": "Analog", "Gain": 9})
    assert device.gains == {"Analog": 9.0, "Digital": 2.0}
    keeper.bring(device, {})
    assert device.gains == Device().gains
    assert device.values == Device().values


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ExposureTme", 100, "no feature ExposureTme; did you mean ExposureTime?"),
        ("ExposureTime", 5, "takes ExposureTime of 10 … 100000, not 5"),
        ("ExposureTime", "long", "does not take ExposureTime = 'long': it wants number"),
        ("ExposureTime", True, "does not take ExposureTime = True"),
        ("Width", 100.5, "it wants whole number"),
        ("GainSelector", "All", "it wants Analog, Digital"),
        ("ReverseX", 1, "it wants true or false"),
        ("DeviceUserID", 3, "it wants text"),
    ],
)
def test_refused_feature_says_what_the_camera_wants(
    device: Device, name: str, value: FeatureValue, said: str
) -> None:
    keeper = FeatureKeeper()
    with pytest.raises(FeatureRefusedError) as caught:
        keeper.bring(device, {"Width": 320, name: value})
    assert said in str(caught.value)
    keeper.bring(device, {})
    assert device.values == Device().values, "what was set before the mistake is put back too"
