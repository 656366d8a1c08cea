"""Puts the inspection together from its parts; what the world is made of comes in from outside."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from edge_agent.access import InspectionAccess
from edge_agent.announcer import Announcer
from edge_agent.clock import NS_PER_S
from edge_agent.controls import Controls
from edge_agent.errors import ConfigurationError, StorageError
from edge_agent.inspection import Inspection, Timing, Wiring
from edge_agent.journal import VerdictJournal
from edge_agent.journal_file import JournalFile
from edge_agent.judgement import unknown_expected
from edge_agent.mailbox import FaultSeen, Mailbox, StorageChanged, Wake
from edge_agent.model_slot import ModelSlot
from edge_agent.picture_desk import PictureDesk
from edge_agent.picture_queue import PictureQueue
from edge_agent.ports import Camera, Clock, LoadedModel, Outbox, PlcLink
from edge_agent.recipes import RecipeBook
from edge_agent.recorder import Learning, Recorder
from edge_agent.repairs import Repairs
from edge_agent.right_of_way import RightOfWay
from edge_agent.settings import Settings
from edge_agent.station import Station
from edge_agent.telemetry import Telemetry
from edge_agent.vision import VisionWorker

logger = logging.getLogger(__name__)

RECORD_S = 0.01
"""What recording a part takes, with a picture that is kept."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory


@dataclass(frozen=True, slots=True)
class World:
    """What the inspection is built on; tests put in what they like."""

    boot_id: UUID
    clock: Clock
    camera: Camera
    model: LoadedModel | None
    book: RecipeBook
    outbox: Outbox
    learning: Learning
    make_link: Callable[[Mailbox], PlcLink]
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Core:
    """The inspection with its threads; start and stop them through here."""

    station: Station
    access: InspectionAccess
    link: PlcLink
    vision: VisionWorker
    recorder: Recorder
    journal: VerdictJournal
    inspection: Inspection
    mailbox: Mailbox
    right_of_way: RightOfWay
    desk: PictureDesk

    def start(self) -> None:
        """Record what an earlier process left behind, then start to inspect.

        Raises:
            StorageError: the outbox does not take what the journal holds.
        """
        self.recorder.start()
        self.vision.start()
        self.inspection.start()
        self.desk.start()

    def stop(self) -> None:
        """Finish the running part, say ``stopped``, record everything, close the camera."""
        self.inspection.stop()
        self.desk.stop()
        self.vision.stop()
        self.recorder.stop()
        self.journal.close()

    @property
    def is_alive(self) -> bool:
        """Whether the threads run that a part needs."""
        return self.inspection.is_alive and self.recorder.is_alive


def assemble(settings: Settings, world: World) -> Core:
    """Build the inspection; nothing runs yet.

    Raises:
        ConfigurationError: recipe and model do not go together.
        StorageError: there is no place for a journal.
    """
    timing, clock, mailbox = settings.station, world.clock, Mailbox()
    station = Station(
        resend_ns=int(timing.resend_result_s * NS_PER_S),
        hold_ns=int(timing.hold_result_s * NS_PER_S),
        job_timeout_ns=int(timing.job_timeout_s * NS_PER_S),
        num_remembered=timing.num_remembered,
        remember_ns=int(timing.remember_s * NS_PER_S),
    )
    recipe = world.book.choose(settings.recipe.selected)
    unknown = unknown_expected(recipe, world.model.detector.categories) if world.model else ()
    if unknown:
        raise ConfigurationError(
            f"recipe {recipe.recipe_id} expects {', '.join(unknown)}, which the model does not know"
        )
    journal = VerdictJournal(_journal_file(settings), on_durable=lambda: mailbox.post(Wake()))
    _recall_answers(station, journal, clock)
    right_of_way = RightOfWay()
    recorder = Recorder(
        outbox=world.outbox,
        journal=journal,
        learning=world.learning,
        queue_size=settings.recorder.queue_size,
        jpeg_quality=settings.recorder.jpeg_quality,
        is_simulated=settings.cell.is_simulated,
        give_way=partial(right_of_way.give_way, RECORD_S),
        on_room=lambda: mailbox.post(Wake()),
        on_storage=lambda alarm: mailbox.post(StorageChanged(alarm)),
    )
    vision = VisionWorker(world.camera, clock, mailbox.post)
    link = world.make_link(mailbox)
    controls = Controls(station=station, book=world.book, recorder=recorder, clock=clock)
    slot = ModelSlot(world.model, station=station, controls=controls, telemetry=world.telemetry)
    pictures = PictureQueue(settings.http.queue_size)
    access = InspectionAccess(
        mailbox=mailbox, pictures=pictures, book=world.book, recorder=recorder, clock=clock
    )
    slot.on_swap = access.show_model
    slot.show()
    if world.model is not None:
        access.show_model(world.model)
    controls.use(recipe)
    controls.on_recipe = vision.rehearse
    wiring = Wiring(
        clock=clock,
        mailbox=mailbox,
        station=station,
        link=link,
        vision=vision,
        recorder=recorder,
        journal=journal,
        controls=controls,
        announcer=Announcer(
            cell=settings.cell.address,
            boot_id=world.boot_id,
            station=station,
            link=link,
            clock=clock,
            heartbeat_s=timing.heartbeat_s,
        ),
        access=access,
        slot=slot,
        right_of_way=right_of_way,
        repairs=Repairs(
            station=station,
            controls=controls,
            vision=vision,
            clock=clock,
            pause_s=timing.reconnect_s,
        ),
        telemetry=world.telemetry,
    )
    inspection = Inspection(wiring, Timing(settings.camera.grab_timeout_s, timing.hold_result_s))
    desk = PictureDesk(
        pictures=pictures,
        current=lambda: access.snapshot.model,
        recorder=recorder,
        journal=journal,
        telemetry=world.telemetry,
        clock=clock,
        right_of_way=right_of_way,
        num_threads=settings.http.num_parallel if settings.http.enabled else 0,
        keeps_apart=settings.model.num_threads == 1,
        on_fault=lambda fault: mailbox.post(FaultSeen(fault)),
    )
    return Core(
        station, access, link, vision, recorder, journal, inspection, mailbox, right_of_way, desk
    )


def _journal_file(settings: Settings) -> JournalFile:
    try:
        return JournalFile(settings.recorder.journal)
    except StorageError as error:
        # Only where it could never be laid out: later ones need no more space. The line goes on
        # with a journal that survives the process; the outbox's alarm tells about the disk.
        logger.error("%s; one in memory takes its place", error)  # noqa: TRY400
        name = f"sightline-{str(settings.cell.address).replace('/', '-')}.journal"
        return JournalFile(MEMORY / name)


def _recall_answers(station: Station, journal: VerdictJournal, clock: Clock) -> None:
    """What an earlier process answered a trigger with is what a repeat gets from this one."""
    now, now_ns = clock.now(), clock.monotonic_ns()
    for entry in journal.entries:
        if entry.ack is not None:
            # The machine's clock may have been set back meanwhile: then nothing is old.
            age_ns = max(int((now - entry.at).total_seconds() * NS_PER_S), 0)
            station.recall(entry.request, entry.ack, entry.result, at_ns=now_ns - age_ns)
