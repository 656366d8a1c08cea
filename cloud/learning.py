"""The learning half of the server, put together: labels → snapshot → run → release → cells."""

import logging
import os
import socket

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from cloud.agreement import SecondReview
from cloud.broker import BrokerLink
from cloud.central_inspection import CentralInspection, InspectionLimits
from cloud.comparisons import Comparisons
from cloud.dataset import Datasets
from cloud.db.session import Database
from cloud.desired import DesiredPublisher
from cloud.drift_watch import DriftWatch
from cloud.errors import CloudError, ConfigurationError
from cloud.fleet import Fleet
from cloud.image_store import ImageStore
from cloud.inspection_desk import InspectionDesk
from cloud.label_import import LabelImport
from cloud.labeling import Labeling
from cloud.mlflow_log import mlflow_from
from cloud.policy import RetrainingTrigger
from cloud.registry import Registry
from cloud.retraining import Retraining
from cloud.rollout import WaveLimits
from cloud.rollout_controller import RolloutController
from cloud.settings import Settings
from cloud.snapshot_pictures import SnapshotPictures
from cloud.training_driver import TrainingDriver
from cloud.tuf_repository import TufRepository

LOGGER = logging.getLogger(__name__)
RESIGN_PERIOD_S = 300.0


def review_policy(settings: Settings) -> SecondReview:
    """Which labels need a second look."""
    review = settings.review
    return SecondReview(review.second_share, frozenset(review.second_categories), review.min_iou)


class LearningServices:
    """Everything that learns and releases; `start` gives it its threads.

    Attributes:
        labeling: Review queue, annotations, categories.
        label_import: Labels from other tools.
        datasets: Snapshots.
        registry: Bundles and releases.
        repository: The signed repository behind the registry.
        fleet: Rollouts, pins, rollbacks.
        retraining: Runs and the policy.
        inspections: Judges pictures that robots send here.
        drift: How far each cell's records have moved.
        pictures: Of snapshots.
        comparisons: Two models, picture by picture.
    """

    def __init__(self, settings: Settings, database: Database, images: ImageStore) -> None:
        """Put the parts together; nothing runs yet and nothing is written.

        Raises:
            ConfigurationError: the cron expression is not one.
        """
        self._settings = settings
        self.labeling = Labeling(database, policy=review_policy(settings))
        self.label_import = LabelImport(
            database,
            images=images,
            labeling=self.labeling,
            max_pixels=settings.ingest.max_image_pixels,
        )
        self.datasets = Datasets(
            database, read_image=images.get, root_url=settings.storage.snapshots_url
        )
        self.repository = TufRepository(settings.tuf)
        self.registry = Registry(
            database,
            repository=self.repository,
            bundles_dir=settings.retraining.bundles_dir,
        )
        self.fleet = Fleet(database, registry=self.registry, settings=settings.rollout)
        self._driver = TrainingDriver(
            database,
            datasets=self.datasets,
            registry=self.registry,
            fleet=self.fleet,
            settings=settings.retraining,
            gates=settings.gates,
            run_log=mlflow_from(os.environ),
        )
        self.retraining = Retraining(
            database,
            datasets=self.datasets,
            registry=self.registry,
            driver=self._driver,
            settings=settings.retraining,
        )
        self.drift = DriftWatch(database)
        self.pictures = SnapshotPictures()
        self.comparisons = Comparisons(database)
        inspection = settings.inspection
        self.inspections = InspectionDesk(
            CentralInspection(
                self.registry.current,
                recipes_dir=inspection.recipes_dir,
                limits=InspectionLimits(
                    inspection.workers,
                    inspection.queue,
                    inspection.max_pixels,
                    inspection.timeout_s,
                ),
            ),
            max_requests=inspection.workers + inspection.queue,
        )
        rollout = settings.rollout
        self._controller = RolloutController(
            database,
            limits=WaveLimits(
                rollout.success_ratio, rollout.max_failed_cells, rollout.wave_timeout_s
            ),
        )
        self._link = BrokerLink(
            settings.broker, f"sightline-serve-{socket.gethostname()}-{os.getpid()}"
        )
        self._publisher = DesiredPublisher(database, self._link)
        self._scheduler = self._make_scheduler()

    def start(self) -> None:
        """Make the repository where there is none, connect, and begin to look after everything.

        Raises:
            ConfigurationError: the repository cannot be made or its keys are gone.
        """
        try:
            self.repository.ensure()
            self.repository.refresh()
        except (CloudError, OSError) as error:
            raise ConfigurationError(f"model repository: {error}") from error
        # It tells of every round at INFO; ours tell of what they changed.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._link.start()
        self._driver.start()
        self._scheduler.start()

    def stop(self) -> None:
        """End every thread; a training run is ended and taken up again by the next start."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self._driver.stop()
        self.inspections.inspection.stop()
        self._link.stop()

    @property
    def is_connected(self) -> bool:
        """Whether desired state reaches the broker."""
        return self._link.is_connected

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send a message to a cell where there is a connection; False: nothing was sent."""
        return self._link.publish(topic, payload)

    def _make_scheduler(self) -> BackgroundScheduler:
        settings = self._settings
        scheduler = BackgroundScheduler(
            timezone="UTC",
            # One thread: each of these parts has one owner, and none of them waits for long.
            executors={"default": {"type": "threadpool", "max_workers": 1}},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        scheduler.add_job(
            self._look_after_rollouts, "interval", seconds=settings.rollout.check_period_s
        )
        scheduler.add_job(self._sign_again, "interval", seconds=RESIGN_PERIOD_S)
        if settings.retraining.enabled:
            scheduler.add_job(
                self._consider,
                "interval",
                seconds=settings.retraining.check_period_s,
                args=[RetrainingTrigger.LABELS],
            )
        if settings.retraining.enabled and settings.retraining.on_drift:
            scheduler.add_job(
                self._consider_drift, "interval", seconds=settings.retraining.drift_period_s
            )
        if settings.retraining.enabled and settings.retraining.cron is not None:
            try:
                trigger = CronTrigger.from_crontab(settings.retraining.cron, timezone="UTC")
            except ValueError as error:
                raise ConfigurationError(f"retraining.cron: {error}") from error
            scheduler.add_job(self._consider, trigger, args=[RetrainingTrigger.SCHEDULE])
        return scheduler

    def _look_after_rollouts(self) -> None:
        try:
            self._controller.advance()
            self._publisher.reconcile()
        except CloudError as error:  # the database is away: the next round comes soon
            LOGGER.warning("rollouts could not be looked after", extra={"cause": str(error)})

    def _consider_drift(self) -> None:
        try:
            drifted = self.drift.alarms()
        except CloudError as error:
            LOGGER.warning("drift could not be looked for", extra={"cause": str(error)})
            return
        if drifted:
            self._consider(RetrainingTrigger.DRIFT, "; ".join(cell.reason for cell in drifted))

    def _consider(self, trigger: RetrainingTrigger, drift: str = "") -> None:
        try:
            decision = self.retraining.consider(trigger, drift=drift)
        except CloudError as error:
            LOGGER.warning("retraining could not be considered", extra={"cause": str(error)})
            return
        if decision.start:
            LOGGER.info("retraining starts", extra={"reason": decision.reason})

    def _sign_again(self) -> None:
        try:
            if self.repository.refresh():
                LOGGER.info("model repository signed again")
        except (CloudError, OSError) as error:
            LOGGER.warning("model repository cannot be signed", extra={"cause": str(error)})
