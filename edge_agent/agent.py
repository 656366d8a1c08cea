"""The composition root: builds the agent from its settings, runs it, ends it in good order."""

import gc
import logging
import signal
import threading
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from uuid import uuid4

from edge_agent.adapters.cameras import make_camera
from edge_agent.adapters.detector import load_model
from edge_agent.adapters.http_api import HttpLimits, make_app
from edge_agent.adapters.http_server import HttpServer
from edge_agent.adapters.mqtt_connection import BrokerAccess
from edge_agent.adapters.mqtt_plc import MqttPlcLink
from edge_agent.adapters.mqtt_uplink import MqttUplink, UplinkLimits
from edge_agent.adapters.tuf_client import TufClient
from edge_agent.adapters.workshop import ModelWorkshop
from edge_agent.assembly import World, assemble
from edge_agent.boot import boot_model, loading_of, open_store
from edge_agent.clock import NS_PER_S, ClockWatch, SystemClock
from edge_agent.errors import ConfigurationError
from edge_agent.frame_ring import FrameRing
from edge_agent.late_outbox import LateOutbox
from edge_agent.mailbox import Mailbox, StorageChanged
from edge_agent.memory import share_the_heap
from edge_agent.miner import HardExampleRules, Miner
from edge_agent.mirror_watch import MirrorWatch
from edge_agent.model_store import ModelStore
from edge_agent.outbox import SqliteOutbox
from edge_agent.outbox_rows import OutboxLimits
from edge_agent.ports import LoadedModel
from edge_agent.priority import share_the_interpreter
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import STORAGE, HardPicture, Learning
from edge_agent.sections import MqttSettings
from edge_agent.service import ServiceManager
from edge_agent.settings import Settings
from edge_agent.telemetry import Telemetry
from edge_agent.update_ports import UpdaterHooks, UpdateStatus
from edge_agent.updater import Updater
from models.contract.bundle import ModelRef
from models.contract.messages import Alarm, DesiredModel, Reported, StationEvent

logger = logging.getLogger(__name__)

PLC_SESSION_S = 0
"""Nothing is kept for us while we are away: a trigger that is handed on later would be answered
after its deadline, and an OK is never late. The PLC hears nothing, and acts on that."""
UPLINK_SESSION_S = 86_400
TIDY_S = 0.05
"""What moving the outbox's log into its file takes of the disk."""
SEND_S = 0.01
"""What the uplink's network thread still does for the rows that were sent last."""
LOOK_S = 0.02
"""What a second model's look at a part takes, with the picture that may be kept of it."""
STILL_S = 5.0
"""An inspection thread that has not gone round for this long hangs."""
WATCH_S = 1.0
NO_RESERVE = Alarm(
    code=STORAGE,
    cause="the disk is full: records live on the outbox's reserve, pictures are left out",
    action="Free disk space before the reserve is used up too and the line has to wait",
)


class Agent:
    """One cell's agent.

    Raises:
        ConfigurationError: the settings cannot be fulfilled.
        StorageError: journal or outbox cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._boot_id = uuid4()
        self._live_ns = self._clock.monotonic_ns()
        self._cell = settings.cell.address
        self._telemetry = Telemetry()
        book = RecipeBook.read(settings.recipe.path, settings.recipe.store)
        store = open_store(settings)
        model = boot_model(settings, store, book.choose(settings.recipe.selected))
        self._outbox = LateOutbox(self._open_outbox)
        self._link: MqttPlcLink | None = None
        learning = Learning(self._make_miner(), FrameRing(settings.hard_examples.num_recent))
        world = World(
            boot_id=self._boot_id,
            clock=self._clock,
            camera=make_camera(settings.camera, is_simulated=settings.cell.is_simulated),
            model=model,
            book=book,
            outbox=self._outbox,
            learning=learning,
            make_link=self._make_link,
            telemetry=self._telemetry,
        )
        self._core = assemble(settings, world)
        self._core.access.is_live = self.is_live
        self._updater = self._make_updater(store, model) if settings.update.enabled else None
        if self._updater is not None:
            learning.observers.append(self._updater)
        self._mirror = self._make_mirror(settings, store)
        if self._mirror is not None:
            learning.observers.append(self._mirror)
        self._outbox.on_reserve = self._tell_reserve
        self._outbox.before_tidying = partial(self._core.right_of_way.give_way, TIDY_S)
        self._clock_watch = ClockWatch(self._clock)
        self._uplink = self._make_uplink() if settings.uplink.enabled else None
        self._http = self._make_http() if settings.http.enabled else None
        self._watch_figures()

    def run(self, stop: threading.Event) -> bool:
        """Inspect until told to stop.

        Returns:
            False when a thread that a part needs died or hangs: somebody must start us again.
        """
        share_the_interpreter()
        manager = ServiceManager.from_environment()
        with ExitStack() as running:
            running.callback(self._outbox.close)
            self._start(running)
            manager.ready()
            # What is there now stays: the collector need not look through it between two parts.
            gc.collect()
            gc.freeze()
            logger.info("agent started", extra={"cell": str(self._cell), "boot": self._boot_id})
            period_s = min(WATCH_S, (manager.watchdog_s or 2 * WATCH_S) / 2)
            is_well = True
            while is_well and not stop.wait(period_s):
                is_well = self._watch(manager)
            manager.stopping()
        logger.info("agent stopped")
        return is_well

    def _watch(self, manager: ServiceManager) -> bool:
        """Whether to go on: false when only a new process can help."""
        if self._link is not None:
            self._link.ensure_alive()
        step_s = self._clock_watch.step_s()
        if step_s:
            text = f"the machine's clock was set by {step_s:+.0f} s"
            self._core.access.post_event(StationEvent(code="clock_stepped", text=text))
        if self.is_live():
            manager.alive()
            self._live_ns = self._clock.monotonic_ns()
        # systemd ends a hanging agent earlier; without it the agent does so itself.
        patience_ns = 2 * self._settings.station.hang_s * NS_PER_S
        return self._core.is_alive and self._clock.monotonic_ns() - self._live_ns < patience_ns

    def is_live(self) -> bool:
        """Whether every loop that a part needs goes round."""
        silent_ns = self._clock.monotonic_ns() - self._core.access.snapshot.seen_ns
        busy_s = max(self._core.vision.busy_s(), self._core.desk.busy_s())
        is_hanging = busy_s > self._settings.station.hang_s
        return self._core.is_alive and silent_ns < STILL_S * NS_PER_S and not is_hanging

    def _start(self, running: ExitStack) -> None:
        """Start in the order of need; stopping goes the other way round."""
        if self._uplink is not None:
            self._outbox.on_append = self._uplink.wake
            self._uplink.start()
            running.callback(self._uplink.stop)
        if self._link is not None:
            running.callback(self._link.stop)
        running.callback(self._core.stop)
        self._core.start()
        if self._link is not None:
            self._link.start()
        if self._updater is not None:
            self._updater.start()
            running.callback(self._updater.stop)
        if self._mirror is not None:
            self._mirror.start()
            running.callback(self._mirror.stop)
        if self._http is not None:
            self._http.start()
            running.callback(self._http.stop)

    def _open_outbox(self) -> SqliteOutbox:
        outbox = self._settings.outbox
        limits = OutboxLimits(
            database_bytes=outbox.max_bytes - outbox.max_image_bytes,
            image_bytes=outbox.max_image_bytes,
            free_disk_bytes=outbox.min_free_bytes,
            ballast_bytes=outbox.ballast_bytes,
        )
        return SqliteOutbox(outbox.path, cell=self._cell, boot_id=self._boot_id, limits=limits)

    # --- parts -------------------------------------------------------------------------------

    def _make_link(self, mailbox: Mailbox) -> MqttPlcLink:
        access = self._broker_access(self._settings.broker, "plc", PLC_SESSION_S)
        self._link = MqttPlcLink(
            access, cell=self._cell, boot_id=self._boot_id, mailbox=mailbox, clock=self._clock
        )
        return self._link

    def _make_uplink(self) -> MqttUplink:
        uplink = self._settings.uplink
        return MqttUplink(
            access=self._broker_access(uplink, "uplink", UPLINK_SESSION_S),
            cell=self._cell,
            outbox=self._outbox,
            inbox=self._core.access,
            on_model=self._on_desired_model,
            report=self._report,
            monotonic_ns=self._clock.monotonic_ns,
            give_way=partial(self._core.right_of_way.give_way, SEND_S),
            limits=UplinkLimits(
                records=uplink.batch_size,
                resend_s=uplink.resend_s,
                report_s=uplink.report_s,
                image_bytes_per_s=uplink.image_bytes_per_s,
            ),
        )

    def _make_updater(self, store: ModelStore, model: LoadedModel | None) -> Updater:
        settings, access, recorder = self._settings.update, self._core.access, self._core.recorder
        if settings.root is None:
            raise ConfigurationError("update.root is missing: the trusted root.json")
        hooks = UpdaterHooks(
            on_change=self._report_now,
            note=lambda code, text: access.post_event(StationEvent(code=code, text=text[:500])),
            keep_picture=lambda cycle, reason: recorder.post_picture(HardPicture(cycle, reason)),
            give_way=partial(self._core.right_of_way.give_way, LOOK_S),
            after_verdict=self._core.right_of_way.after_verdict,
        )
        return Updater(
            store=store,
            source=TufClient(
                settings.base_url,
                root=settings.root,
                folder=settings.work,
                timeout_s=settings.timeout_s,
            ),
            host=access,
            active=model,
            workshop=ModelWorkshop(
                loading_of(self._settings),
                beside=self._core.right_of_way.beside,
                wait_for_pause=self._core.right_of_way.after_verdict,
            ),
            clock=self._clock,
            hooks=hooks,
            swap_timeout_s=settings.swap_timeout_s,
        )

    def _make_mirror(self, settings: Settings, store: ModelStore) -> MirrorWatch | None:
        rules, recorder = settings.hard_examples, self._core.recorder
        if not rules.enabled or rules.flip_ratio == 0:
            return None

        def load(ref: ModelRef) -> LoadedModel | None:
            folder = store.find(ref.bundle_id)
            if folder is None:
                return None
            return load_model(
                folder, ref, loading=loading_of(settings, num_threads=1, num_requests=1)
            )

        def give_way() -> None:
            self._core.desk.wait_for_pause()
            self._core.right_of_way.give_way(LOOK_S)

        return MirrorWatch(
            load=load,
            keep=lambda cycle, reason: recorder.post_picture(HardPicture(cycle, reason)),
            ratio=rules.flip_ratio,
            seed=rules.seed,
            give_way=give_way,
        )

    def _tell_reserve(self, is_there: bool) -> None:
        alarm = None if is_there else NO_RESERVE
        self._core.mailbox.post(StorageChanged(alarm))

    def _make_http(self) -> HttpServer:
        http = self._settings.http
        app = make_app(
            self._core.access,
            self._telemetry.registry,
            limits=HttpLimits(
                max_body_bytes=http.max_body_bytes,
                max_pixels=http.max_pixels,
                max_requests=2 * http.queue_size,
                timeout_s=http.timeout_s,
            ),
            version=version("sightline"),
        )
        return HttpServer(app, host=http.host, port=http.port)

    def _make_miner(self) -> Miner:
        settings = self._settings.hard_examples
        rules = HardExampleRules(
            low_score=settings.low_score,
            band=settings.band,
            audit_ratio=settings.audit_ratio,
            reject_ratio=settings.reject_ratio,
            novelty_sigmas=settings.novelty_sigmas,
            max_ratio=settings.max_ratio,
            max_per_hour=settings.max_per_hour if settings.enabled else 0,
        )
        return Miner(rules, monotonic_ns=self._clock.monotonic_ns, seed=settings.seed)

    def _broker_access(self, broker: MqttSettings, role: str, session_s: int) -> BrokerAccess:
        return BrokerAccess(
            host=broker.host,
            port=broker.port,
            client_id=broker.client_id or f"{str(self._cell).replace('/', '-')}-{role}",
            username=broker.username,
            password=broker.secret(),
            tls_ca=broker.tls_ca,
            tls_cert=broker.tls_cert,
            tls_key=broker.tls_key,
            keep_alive_s=broker.keep_alive_s,
            reconnect_max_s=broker.reconnect_max_s,
            session_expiry_s=session_s,
        )

    def _on_desired_model(self, desired: DesiredModel) -> None:
        if self._updater is not None:
            self._updater.desire(desired)

    def _report_now(self) -> None:
        if self._uplink is not None:
            self._uplink.report_now()

    def _report(self) -> Reported:
        snapshot, counts = self._core.access.snapshot, self._outbox.counts()
        status = self._updater.status if self._updater else UpdateStatus()
        desired = status.desired
        return Reported(
            cell=str(self._cell),
            boot_id=self._boot_id,
            agent_version=version("sightline"),
            model=snapshot.model.ref if snapshot.model else None,
            desired=desired.model if desired else None,
            rollout_id=desired.rollout_id if desired else None,
            phase=status.phase,
            error=status.error,
            recipe_id=snapshot.recipe_id,
            recipe_version=snapshot.recipe_version,
            outbox_records=counts.records,
            outbox_images=counts.images,
            images_dropped=counts.images_dropped,
            sent_at=self._clock.now(),
        )

    def _watch_figures(self) -> None:
        watch, outbox = self._telemetry.watch, self._outbox
        watch("sightline_outbox_records", "Records that wait for the cloud.", outbox.num_records)
        watch("sightline_outbox_images", "Pictures that wait for the cloud.", outbox.num_images)
        watch(
            "sightline_overruns",
            "Triggers refused because the station was busy.",
            lambda: self._core.station.num_overruns,
        )
        watch(
            "sightline_mailbox_dropped",
            "Messages dropped because too many waited.",
            lambda: self._core.mailbox.num_dropped,
        )


def run_agent(settings: Settings) -> bool:
    """Build the agent and run it until SIGTERM or SIGINT; false: start me again.

    Raises:
        ConfigurationError: the settings cannot be fulfilled.
        StorageError: journal or outbox cannot be used.
    """
    share_the_heap()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return Agent(settings).run(stop)
