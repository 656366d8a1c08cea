"""Follows labels, retraining, gates, releases and rollouts over the public API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulators.cloud_client import CloudClient, Json
from simulators.demo.story import Teller

FINAL = frozenset({"succeeded", "refused", "failed", "cancelled"})
QUARTERS = 4


@dataclass(slots=True)
class LearningState:
    """What the cloud says now.

    Attributes:
        run: The newest retraining.
        good_run: The newest one that led to a release.
        rollout: The newest rollout.
        labels: Pictures that somebody labelled.
        hard_images: Pictures by reason.
        outlook: Why no retraining starts yet.
    """

    run: Json | None = None
    good_run: Json | None = None
    rollout: Json | None = None
    labels: int = 0
    hard_images: Mapping[str, int] = field(default_factory=dict)
    outlook: str = ""


class LearningWatch:
    """Looks at the API now and then, and tells what changed.

    Args:
        cloud: The API.
        teller: Told of changes.
    """

    def __init__(self, cloud: CloudClient, teller: Teller) -> None:
        self._cloud = cloud
        self._teller = teller
        self._told: set[str] = set()
        self._is_first_look = True
        self.state = LearningState()

    def look(self) -> LearningState:
        """Ask once.

        Raises:
            CloudUnreachableError: the cloud is away.
        """
        state = self.state
        runs = self._cloud.get("retrainings", limit=20)["items"]
        state.run = runs[0] if runs else None
        state.good_run = next((run for run in runs if run["state"] == "succeeded"), None)
        rollouts = self._cloud.get("rollouts", limit=1)["items"]
        state.rollout = rollouts[0] if rollouts else None
        summary = self._cloud.get("statistics/summary")
        state.labels = int(summary["review"].get("labelled", 0))
        state.hard_images = summary["hard_images"]
        if state.run is None or state.run["state"] in FINAL:
            state.outlook = str(self._cloud.get("retrainings/outlook")["reason"])
        if self._is_first_look:
            self._remember(runs)
        self._tell_hard_images(state.hard_images)
        if state.run is not None:
            self._tell_run(state.run)
        if state.rollout is not None:
            self._tell_rollout(state.rollout)
        self._is_first_look = False
        return state

    @property
    def is_learning(self) -> bool:
        """Whether labels are being turned into a model, or one is on its way to the cells."""
        run, rollout = self.state.run, self.state.rollout
        is_training = run is not None and run["state"] not in FINAL
        return is_training or (rollout is not None and rollout["state"] == "running")

    def figures(self) -> str:
        """One line about how far learning is."""
        state = self.state
        run = state.run
        if run is not None and run["state"] not in FINAL:
            progress = run.get("progress") or {}
            stage = progress.get("stage", run["state"])
            steps = progress.get("steps")
            where = f" {progress.get('step', 0)}/{steps}" if steps else ""
            return f"labels {state.labels} · retraining: {stage}{where}"
        return f"labels {state.labels} · {state.outlook}"

    def _remember(self, runs: list[Json]) -> None:
        """Runs that ended before this demonstration began are no news."""
        for run in runs:
            if run["state"] in FINAL:
                self._told |= {f"{run['run_id']} start", f"{run['run_id']} end"}
        if self.state.rollout is not None:
            rollout = self.state.rollout
            self._told.add(f"{rollout['rollout_id']} {rollout['state']}")

    def _once(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _tell_hard_images(self, hard_images: Mapping[str, int]) -> None:
        for reason, count in hard_images.items():
            if count and self._once(f"reason {reason}") and not self._is_first_look:
                self._teller.say(f"cloud: first hard image with reason {reason}")

    def _tell_run(self, run: Json) -> None:
        run_id = run["run_id"]
        if run.get("snapshot_id") and self._once(f"{run_id} start"):
            self._teller.say(
                f"cloud: retraining starts by itself ({run['trigger']}) on snapshot"
                f" {run['snapshot_id']}",
                style="bold cyan",
            )
        self._tell_progress(run_id, run.get("progress") or {})
        if run["state"] in FINAL and self._once(f"{run_id} end"):
            self._tell_end(run)

    def _tell_progress(self, run_id: str, progress: Json) -> None:
        stage, steps = progress.get("stage"), progress.get("steps")
        if not stage:
            return
        if self._once(f"{run_id} {stage}"):
            self._teller.say(f"retraining: {progress.get('text') or stage}")
        if steps:
            quarter = QUARTERS * int(progress.get("step", 0)) // int(steps)
            if quarter and self._once(f"{run_id} {stage} {quarter}"):
                loss = progress.get("loss")
                self._teller.say(
                    f"retraining: {stage} {progress['step']} of {steps}"
                    + (f", loss {loss:.3f}" if isinstance(loss, float) else "")
                )

    def _tell_end(self, run: Json) -> None:
        for gate in run.get("gates") or ():
            self._teller.say(
                f"gate {gate['name']}: {gate['text']}",
                style="green" if gate["passed"] else "red",
            )
        if run["state"] == "succeeded":
            self._teller.say(f"cloud: release {run['release']} is signed", style="bold green")
        else:
            self._teller.say(f"cloud: retraining {run['state']}: {run['error']}", style="red")

    def _tell_rollout(self, rollout: Json) -> None:
        key = f"{rollout['rollout_id']} {rollout['state']}"
        if not self._once(key):
            return
        text = f"rollout of release {rollout['release']}: {rollout['state']}"
        if rollout["state"] == "running" and rollout["waves"]:
            text += f", canary {', '.join(rollout['waves'][0])}"
        if rollout.get("error"):
            text += f" ({rollout['error']})"
        self._teller.say(text, style="cyan")
