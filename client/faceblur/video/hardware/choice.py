"""What decodes and encodes: a device where it was measured to be faster, or as was asked."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import av
from filelock import FileLock

from faceblur.errors import OutputError
from faceblur.files import atomic_path, cache_folder
from faceblur.gpus import find_gpus
from faceblur.video.hardware.devices import (
    OWN_DECODERS,
    DeviceError,
    accelerator,
    candidates,
)
from faceblur.video.hardware.probe import ENCODERS, Measurement, Pace, Question
from faceblur.video.options import HardwareDecoding

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
"""In place of an encoder: that of the GPU where it was measured to be faster."""

SAVES: Final = 0.8
"""A device is to leave a fifth of the CPU's time for a frame, at least: one that saves less is not
worth its memory."""

_TIMEOUT_S: Final = 120.0
_AGAIN_S: Final = 24 * 3600.0
"""What did not work is tried again after so long."""
_HANDED_ON: Final = "FACEBLUR_VIDEO_MEASUREMENT"
"""Where the processes that this one starts find it if the cache cannot be written."""
_VERSION: Final = 1
"""Of the measurement: an older one is made again."""


PROBE: Final = "faceblur.video.hardware.probe"
"""The module that measures, in a process of its own."""

_measuring: set[subprocess.Popen[str]] = set()


class MeasurementEndedError(Exception):
    """A measurement was ended by `end_measurement`."""


@dataclass(frozen=True)
class Chosen:
    """What does the work.

    Attributes:
        name: The device, or the encoder; None for the CPU's own choice.
        why: For people.
    """

    name: str | None
    why: str


def choose_decoder(wanted: HardwareDecoding, codec: str, *, may_measure: bool = True) -> Chosen:
    """The device that decodes a codec; the CPU where it does not work, with one warning.

    Args:
        wanted: What was asked for.
        codec: FFmpeg's name.
        may_measure: For `auto`: measure where that was not done before, which takes seconds.
            Without, the CPU decodes then.
    """
    if wanted == "off":
        return Chosen(None, "as asked")
    if wanted in OWN_DECODERS:
        return Chosen(wanted, "as asked")
    if wanted != "auto":
        why = _objection(wanted)
        if why:
            warn(wanted, why)
            return Chosen(None, f"{wanted}: {why}")
        return Chosen(wanted, "as asked")
    devices = candidates()
    if not devices:
        return Chosen(None, "no device that decodes is here")
    paces = measurement(devices, may_measure=may_measure).decoders.get(codec, {})
    cpu = paces.get("cpu")
    if cpu is None or cpu.objection:
        return Chosen(None, "not measured")
    told = []
    for device in devices:
        why = _speaks_against(paces.get(device, Pace(objection="not measured")), cpu)
        if not why:
            return Chosen(device, _told(paces[device], cpu))
        told.append(f"{device}: {why}")
    return Chosen(None, "; ".join(told))


def choose_encoder_like(encoder: str, *, may_measure: bool = True) -> Chosen:
    """An encoder of the GPU in place of one of the CPU, where it was measured to be faster."""
    other = ENCODERS.get(encoder)
    if other is None:
        return Chosen(None, f"no encoder of a GPU takes the place of {encoder}")
    devices = candidates()
    if "cuda" not in devices:
        return Chosen(None, "no NVIDIA GPU is here")
    paces = measurement(devices, may_measure=may_measure).encoders
    gpu, cpu = paces.get(other), paces.get(encoder)
    if gpu is None or gpu.objection or cpu is None or cpu.objection:
        why = next((p.objection for p in (gpu, cpu) if p is not None and p.objection), "")
        return Chosen(None, f"{other}: {why or 'not measured'}")
    why = _speaks_against(gpu, cpu)
    return Chosen(None, f"{other}: {why}") if why else Chosen(other, _told(gpu, cpu))


def _speaks_against(device: Pace, cpu: Pace) -> str:
    """Why the CPU is as good; empty if the device is faster.

    Detection, masking and encoding want the CPU's cores. So what counts is what a frame takes of
    them; and the device must not be slower than one core.
    """
    if device.objection:
        return device.objection
    if device.frames_per_s * cpu.cpu_s < 1:
        return f"slower than a core of the CPU ({_told(device, cpu)})"
    if device.cpu_s > SAVES * cpu.cpu_s:
        return f"it takes about as much of the CPU ({_told(device, cpu)})"
    return ""


def _told(device: Pace, cpu: Pace) -> str:
    return (
        f"{device.frames_per_s:.0f} frames of 1080p a second at {1e3 * device.cpu_s:.1f} ms "
        f"of the CPU each, without it {1e3 * cpu.cpu_s:.1f} ms"
    )


@lru_cache
def measurement(devices: tuple[str, ...], *, may_measure: bool = True) -> Measurement:
    """What decoding and encoding take here, measured once and then remembered.

    By GPU, driver, FFmpeg and the CPU's cores; several processes wait for the one that measures.

    Raises:
        MeasurementEndedError: It was ended.
    """
    record = _record_path(devices)
    found = _handed_on() or _remembered(record)
    if found is not None or not may_measure:
        return found or Measurement()
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(record.with_suffix(".lock"), timeout=_TIMEOUT_S):
            found = _remembered(record) or _measured(devices)
            with atomic_path(record) as temporary:
                temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")
    except (OSError, OutputError, TimeoutError) as error:
        logger.info("the measurement is not remembered: %s", error)
        found = found or _measured(devices)
        os.environ[_HANDED_ON] = json.dumps(asdict(found))
    return found


def _handed_on() -> Measurement | None:
    """What the process that started this one has measured."""
    try:
        return Measurement.read(os.environ[_HANDED_ON])
    except (ValueError, TypeError, KeyError):
        return None


def _measured(devices: tuple[str, ...]) -> Measurement:
    logger.info("measuring what %s takes to decode, once", " and ".join(devices))
    question = json.dumps(asdict(Question(devices=devices)))
    try:
        return Measurement.read(_answer(question))
    except subprocess.TimeoutExpired:
        why = f"it did not answer in {_TIMEOUT_S:g} s"
    except (ValueError, TypeError, KeyError):
        why = "the process that tried it died"
    logger.warning("the CPU decodes: %s: %s", " and ".join(devices), why)
    return Measurement()


def _answer(question: str) -> str:
    """What the process that measures says."""
    with subprocess.Popen(
        [sys.executable, "-m", PROBE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        _measuring.add(process)
        try:
            answer, _ = process.communicate(question, timeout=_TIMEOUT_S)
        finally:
            process.kill()
            ended = process not in _measuring
            _measuring.discard(process)
    if ended:
        raise MeasurementEndedError
    return answer


def end_measurement() -> None:
    """Have what is measured at this moment, in whatever thread, end without a result."""
    while _measuring:
        _measuring.pop().kill()


def _record_path(devices: tuple[str, ...]) -> Path:
    key = {
        "version": _VERSION,
        "devices": devices,
        "gpus": [(gpu.name, gpu.driver) for gpu in find_gpus()],
        # Drivers of other devices come with the system.
        "system": platform.release(),
        "av": importlib.metadata.version("av"),
        "ffmpeg": sorted(av.library_versions.items()),
        "cores": os.cpu_count(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "gpu" / f"video-{digest[:24]}.json"


def _remembered(record: Path) -> Measurement | None:
    try:
        found = Measurement.read(record.read_text(encoding="utf-8"))
        age_s = time.time() - record.stat().st_mtime
    except (OSError, ValueError, TypeError, KeyError):
        return None
    works = any(
        name != "cpu" and not pace.objection
        for paces in found.decoders.values()
        for name, pace in paces.items()
    )
    return found if works or age_s < _AGAIN_S else None


@lru_cache
def _objection(device: str) -> str:
    """Why a device cannot be used; tried once, and not each time that a file begins."""
    try:
        accelerator(device)
    except DeviceError as error:
        return str(error)
    return ""


@lru_cache
def warn(wanted: str, why: str) -> None:
    """Say once why the CPU decodes in place of a device."""
    logger.warning("cannot decode with %s here; decoding on the CPU: %s", wanted, why)
