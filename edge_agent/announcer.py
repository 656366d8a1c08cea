"""Says who is there and in which state: on change, and as a heartbeat. Inspection thread only."""

from uuid import UUID

from edge_agent.clock import NS_PER_S
from edge_agent.ports import Clock, PlcLink
from edge_agent.station import Station
from models.contract.bundle import ModelRef
from models.contract.messages import Connection, StationStatus
from models.contract.topics import CellAddress, Channel


class Announcer:
    """Publishes the station's status on the retained ``state`` topic."""

    def __init__(
        self,
        *,
        cell: CellAddress,
        boot_id: UUID,
        station: Station,
        link: PlcLink,
        clock: Clock,
        heartbeat_s: float,
    ) -> None:
        self._cell = str(cell)
        self._boot_id = boot_id
        self._station = station
        self._link = link
        self._clock = clock
        self._heartbeat_ns = int(heartbeat_s * NS_PER_S)
        self._heartbeat = 0
        self._last: StationStatus | None = None
        self._last_ns = 0

    def next_ns(self) -> int:
        """When the next heartbeat is due."""
        return self._last_ns + self._heartbeat_ns

    def announce(self, model: ModelRef | None, *, force: bool = False) -> None:
        """Publish if something changed or the heartbeat is due."""
        now_ns = self._clock.monotonic_ns()
        status = self._status(model, Connection.ONLINE)
        if force or status != self._last or now_ns >= self.next_ns():
            self._publish(status, now_ns)

    def say_stopped(self, model: ModelRef | None) -> None:
        """Publish the last status: stopped on purpose, not lost."""
        self._publish(self._status(model, Connection.STOPPED), self._clock.monotonic_ns())

    def _publish(self, status: StationStatus, now_ns: int) -> None:
        self._last, self._last_ns = status, now_ns
        self._heartbeat += 1
        stamp = {"heartbeat": self._heartbeat, "sent_at": self._clock.now()}
        self._link.send(Channel.STATE, status.model_copy(update=stamp))

    def _status(self, model: ModelRef | None, connection: Connection) -> StationStatus:
        station, recipe = self._station, self._station.recipe
        return StationStatus(
            cell=self._cell,
            connection=connection,
            station_state=station.state,
            boot_id=self._boot_id,
            recipe_id=recipe.recipe_id if recipe else None,
            recipe_version=recipe.version if recipe else None,
            model=model,
            num_triggers=station.num_triggers,
            num_overruns=station.num_overruns,
            alarms=station.alarms,
        )
