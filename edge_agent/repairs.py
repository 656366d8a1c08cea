"""Faults: what a person is told, and what the station tries by itself. Inspection thread only."""

from edge_agent.clock import NS_PER_S
from edge_agent.controls import Controls
from edge_agent.errors import CameraFault, FeatureRefusedError, StationFault
from edge_agent.mailbox import Recovered, Rehearsed
from edge_agent.picture_watch import PICTURE, PictureWatch
from edge_agent.ports import Clock, LoadedModel
from edge_agent.recorder import STORAGE
from edge_agent.station import Station
from edge_agent.vision import CAMERA, MODEL, VisionWorker, fault_code
from models.contract.messages import Alarm, Reason

ACTIONS = {
    CAMERA: "Check the camera's power and cable; it is opened again by itself",
    MODEL: "Roll back to an earlier model, or reset; the model is tried again by itself",
}
CORRECT_FEATURE = "Correct camera_features in the recipe, or features of [camera] in the settings"
PROBE_NS = NS_PER_S // 4
"""While nothing happens, the camera is looked after so often: its loss shows before a deadline."""


class Repairs:
    """Raises alarms and tries again, one thing at a time, until what is broken works."""

    def __init__(
        self,
        *,
        station: Station,
        controls: Controls,
        vision: VisionWorker,
        clock: Clock,
        pause_s: float,
    ) -> None:
        self._station = station
        self._controls = controls
        self._vision = vision
        self._clock = clock
        self._pause_ns = int(pause_s * NS_PER_S)
        self._next_ns: dict[str, int] = {}
        self._probe_ns = 0
        self._pictures = PictureWatch()
        controls.on_reset = self.hurry

    def open_camera(self) -> None:
        """At the start; the station is not Ready before."""
        self._station.hold(CAMERA, on=True)
        self._next_ns[CAMERA] = self._clock.monotonic_ns()

    def take_in(self, fault: StationFault | None) -> None:
        """Something broke, or nothing did (None): drop Ready, tell a person, try again later."""
        if fault is None:
            return
        code = fault_code(fault)
        self._next_ns[code] = self._clock.monotonic_ns() + self._pause_ns
        is_setting = isinstance(fault, FeatureRefusedError)
        action = CORRECT_FEATURE if is_setting else ACTIONS[code]
        alarm = Alarm(code=code, cause=str(fault)[:200], action=action)
        if self._station.raise_fault(alarm):
            self._controls.note(f"alarm_{code}", alarm.cause)

    def finish(self, event: Recovered) -> None:
        """A try ended."""
        if event.fault is not None:
            self.take_in(event.fault)
            return
        self._station.hold(event.code, on=False)
        if self._station.clear_fault(event.code):
            self._controls.note(f"recovered_{event.code}")

    def rehearsed(self, event: Rehearsed) -> None:
        """A recipe's camera features were tried; the running recipe's must be taken."""
        is_running = event.recipe is self._station.recipe
        if is_running and CAMERA not in self._next_ns:  # else it is on its way to be opened anew
            self.take_in(event.fault)

    def look_at(self, reasons: tuple[Reason, ...]) -> None:
        """A part was answered: were its pictures fit to be judged?"""
        alarm = self._pictures.take_in(reasons)
        if self._pictures.is_well:
            self._station.clear_warning(PICTURE)
        elif alarm is not None and self._station.raise_warning(alarm):
            self._controls.note(f"alarm_{PICTURE}", alarm.cause)
        if self._pictures.is_frozen(reasons):
            self.take_in(CameraFault(self._vision.camera_id, "shows the same picture for ever"))

    def try_recipe(self) -> None:
        """Let the camera say whether it suits a recipe from the cloud; while vision is idle."""
        if CAMERA not in self._next_ns and (recipe := self._controls.take_untried()) is not None:
            self._vision.rehearse(recipe)

    def storage_changed(self, alarm: Alarm | None) -> None:
        """The recorder cannot write, or can again (None); inspection goes on meanwhile."""
        if alarm is None:
            self._station.clear_warning(STORAGE)
        elif self._station.raise_warning(alarm):
            self._controls.note("alarm_storage", alarm.cause)

    def hurry(self) -> None:
        """Try everything that is planned now."""
        now_ns = self._clock.monotonic_ns()
        self._next_ns = dict.fromkeys(self._next_ns, now_ns)

    def try_due(self, model: LoadedModel | None) -> None:
        """Begin a try whose time has come; call only while the vision thread is idle."""
        now_ns = self._clock.monotonic_ns()
        due = next((code for code, at_ns in self._next_ns.items() if at_ns <= now_ns), None)
        if due is not None:
            del self._next_ns[due]
            self._vision.recover(due, model, self._station.recipe)
        elif self._is_probe_due(now_ns):
            self._probe_ns = now_ns + PROBE_NS
            self._vision.probe()

    def next_ns(self) -> int | None:
        """When the next try is due."""
        times = list(self._next_ns.values())
        if CAMERA not in self._next_ns:
            times.append(self._probe_ns)
        return min(times)

    def _is_probe_due(self, now_ns: int) -> bool:
        return CAMERA not in self._next_ns and now_ns >= self._probe_ns
