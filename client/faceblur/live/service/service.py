"""A service: the cameras of one file, until it is told to stop."""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from faceblur.detection.detector import Detector
from faceblur.errors import FaceblurError, InputError
from faceblur.live.camera import Camera
from faceblur.live.config.config import FleetConfig, load_config
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.options import CameraOptions
from faceblur.live.service.control import Order
from faceblur.live.service.devices import DeviceMeasurer, measure_devices, wants_measurement
from faceblur.live.service.fleet import Changes, Fleet, OpenCamera
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.open_files import make_room
from faceblur.live.service.status import ServiceStatus
from faceblur.live.service.web import StatusServer
from faceblur.live.sharding.keeper import LeaseKeeper
from faceblur.live.sharding.permit import Permit
from faceblur.live.views import View, views_of

logger = logging.getLogger(__name__)

TURN_S: Final = 0.5
"""How often to check for failed cameras."""

OpenDetector = Callable[[FleetConfig], ReconnectingDetector]


def _detector_for(config: FleetConfig) -> ReconnectingDetector:
    return ReconnectingDetector(config.session, size=config.size)


class Service:
    """Runs the cameras of a file, and reads it again when told to.

    The `guard` is told the file's secrets, so that no log holds them. With `leases` it runs those
    cameras alone that it holds a lease of, and the service goes on without any.

    Raises:
        ConfigError: The file has problems.
        OutputError: It cannot listen where the file says.
        FaceblurError: The system allows too few open files for its cameras.
    """

    def __init__(
        self,
        path: Path,
        *,
        guard: SecretFilter,
        open_detector: OpenDetector = _detector_for,
        open_camera: Callable[..., Camera] = Camera,
        leases: LeaseKeeper | None = None,
    ) -> None:
        self._path = path
        self._guard = guard
        self._open_detector = open_detector
        self._leases = leases
        self._permits: dict[str, Permit] = {}
        self._open_camera: OpenCamera = open_camera
        if leases is not None:
            self._open_camera = partial(_permitted, open_camera, leases)
        self._config = self._load()
        make_room(self._config.cameras)
        measure_devices(self._config.cameras)
        self._started_s = self._turned_s = time.monotonic()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._orders: SimpleQueue[tuple[Order, str]] = SimpleQueue()
        self._wake = threading.Event()
        self._measurer = DeviceMeasurer(self._wake.set)
        self._measured: FleetConfig | None = None
        """What was read again, and is taken once the devices here were measured."""
        self._reloads = self._failed_reloads = 0
        self._reload_error = ""
        self._web: StatusServer | None = None
        self._detector = open_detector(self._config)
        self._fleet = Fleet(self._detector, open_camera=self._open_camera)
        try:
            self._listen(self._config.listen)
        except FaceblurError:
            self._detector.close()
            raise

    @property
    def address(self) -> str | None:
        """host:port of metrics, health and status; None if there are none."""
        return None if self._web is None else self._web.address

    def stop(self) -> None:
        """Have `run` flush the sinks and return; from any thread."""
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Have `run` read the file again; from any thread."""
        self._reload.set()
        self._wake.set()

    def order(self, order: Order, camera: str) -> None:
        """Have `run` do it; from any thread.

        Raises:
            InputError: There is no such camera.
        """
        if order != "reload" and not self._fleet.has(camera):
            raise InputError(f"there is no camera {camera!r}")
        self._orders.put((order, camera))
        self._wake.set()

    def run(self) -> None:
        """Run until told to stop, or until all cameras have come to an end of their own."""
        try:
            changes = self._fleet.apply(self._own(self._config))
            logger.info("%s: %s; status at %s", self._path.name, changes, self.address or "nowhere")
            if self._leases is not None:
                self._leases.want(camera.name for camera in self._config.cameras)
                self._leases.start()
            while not (self._stop.is_set() or self._has_ended):
                self._turned_s = time.monotonic()
                self._obey_leases()
                self._fleet.look()
                self._obey()
                if self._reload.is_set():
                    self._reload.clear()
                    self._read_again()
                self._take_measured()
                self._wake.wait(TURN_S)
                self._wake.clear()
        finally:
            self._close()

    def status(self) -> ServiceStatus:
        """How it is, without secrets; from any thread."""
        detector, fleet = self._detector, self._fleet
        session, failure = detector.session, detector.failure
        now_s = time.monotonic()
        found = None if session is None else f"{session.model.name} model, {session.where}"
        return ServiceStatus(
            version=importlib.metadata.version("faceblur-triton"),
            uptime_s=now_s - self._started_s,
            loop_age_s=now_s - self._turned_s,
            detector=found or "no detector yet",
            detector_failure="" if failure is None else str(failure),
            cameras=tuple(fleet.stats()),
            idle_s=fleet.idle_s(),
            restarts=fleet.restarts(),
            reloads=self._reloads,
            reloads_failed=self._failed_reloads,
            reload_error=self._reload_error,
            leases_failure=None if self._leases is None else self._leases.failure,
        ).scrubbed(self._guard.scrub)

    def views(self) -> dict[str, tuple[View, ...]]:
        """By camera, where what it gives out can be watched, with credentials; from any thread."""
        return {
            # Labels as the status has them.
            name: tuple(replace(view, sink=self._guard.scrub(view.sink)) for view in views)
            for name, views in views_of(self._config.cameras).items()
        }

    @property
    def _has_ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self._leases is None and self._fleet.ended

    def _own(self, config: FleetConfig) -> tuple[CameraOptions, ...]:
        """The cameras of a file that are to run here."""
        if self._leases is None:
            return config.cameras
        return tuple(camera for camera in config.cameras if camera.name in self._permits)

    def _obey_leases(self) -> None:
        """Stop the cameras whose permit is over, then start those that have one."""
        if self._leases is None:
            return
        self._leases.want(camera.name for camera in self._config.cameras)
        permits = self._leases.permits()
        if permits == self._permits:
            return
        self._permits = {n: p for n, p in permits.items() if self._permits.get(n) is p}
        stopped = self._fleet.apply(self._own(self._config)).removed
        self._leases.wake()
        # What ended while others were being stopped is not begun.
        self._permits = {n: p for n, p in permits.items() if p.is_valid}
        started = self._fleet.apply(self._own(self._config)).added
        changes = Changes(added=started, removed=stopped, kept=tuple(self._permits))
        logger.info("leases of cameras have changed: %s", changes)

    def _load(self) -> FleetConfig:
        config = load_config(self._path)
        self._guard.know(config.secrets)
        for warning in config.warnings:
            logger.warning("%s", warning)
        return config

    def _read_again(self) -> None:
        # Whatever waits to be taken is no longer what the file says.
        self._measured = None
        try:
            config = self._load()
            make_room(config.cameras)
        except FaceblurError as error:
            self._refuse(str(error))
        except Exception as error:
            # Whatever is in the file, it ends no camera.
            logger.exception("%s cannot be read", self._path.name)
            self._refuse(f"{self._path.name} cannot be read: {type(error).__name__}: {error}")
        else:
            if wants_measurement(config.cameras):
                self._measured = config
                self._measurer.begin(config.cameras)
            else:
                self._take(config)

    def _take_measured(self) -> None:
        """Take what was read again once the devices were measured; all goes on meanwhile."""
        if self._measured is not None and not self._measurer.is_busy:
            config, self._measured = self._measured, None
            self._take(config)

    def _take(self, config: FleetConfig) -> None:
        """Run the cameras of another configuration from now on."""
        try:
            if config.listen != self._config.listen:
                self._listen(config.listen)
        except FaceblurError as error:
            self._refuse(str(error))
            return
        if config.session != self._config.session or config.size > self._config.size:
            self._replace_detector(config)
        changes = self._fleet.apply(self._own(config))
        self._fleet.forget_others(camera.name for camera in config.cameras)
        self._config = config
        self._reloads += 1
        self._reload_error = ""
        logger.info("%s was read again: %s", self._path.name, changes)

    def _obey(self) -> None:
        while not self._orders.empty():
            order, camera = self._orders.get()
            if order == "reload":
                self._reload.set()
            elif order == "stop":
                self._fleet.hold(camera)
            else:
                self._fleet.release(camera)

    def _refuse(self, why: str) -> None:
        """Note that the changed file is not taken."""
        self._failed_reloads += 1
        self._reload_error = why
        logger.error("the changed file is not taken, all goes on as before:\n%s", why)

    def _replace_detector(self, config: FleetConfig) -> None:
        """All cameras restart, with another detector."""
        logger.info("the server's settings have changed; all cameras start again")
        held = self._fleet.held
        self._fleet.apply(())
        self._detector.close()
        self._detector = self._open_detector(config)
        self._fleet = Fleet(self._detector, open_camera=self._open_camera, held=held)

    def _listen(self, listen: str | None) -> None:
        # First the new one: if it does not work out, the old one stays.
        web = None if listen is None else StatusServer(listen, self.status, self.order, self.views)
        if self._web is not None:
            self._web.close()
        self._web = web

    def _close(self) -> None:
        logger.info("stopping")
        self._measurer.close()
        self._fleet.stop(timeout_s=self._config.shutdown_s)
        if self._leases is not None:
            self._leases.close()
        self._detector.close()
        self._listen(None)
        logger.info("stopped")


def _permitted(
    open_camera: Callable[..., Camera],
    leases: LeaseKeeper,
    options: CameraOptions,
    detector: Detector,
) -> Camera:
    return open_camera(options, detector, permit=leases.permit(options.name))
