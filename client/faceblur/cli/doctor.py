"""`faceblur doctor`: what is installed and reachable, and what to do next."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from faceblur.cli.base import configure_logging
from faceblur.cli.options import tls_options
from faceblur.detection import canary, models, runtimes
from faceblur.detection.models import Media, automatic_model, open_onnx
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import SHIPPED
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import DEFAULT_SERVER, TLS, Connection
from faceblur.detection.triton.runtime import TritonRuntime
from faceblur.errors import FaceblurError, ServerUnavailableError
from faceblur.gpus import find_gpus
from faceblur.video.hardware.choice import choose_decoder, choose_encoder_like
from faceblur.video.hardware.devices import EXACT_CODECS

PROBES = 4
"""Check images sent at once: a server with several instances can have lost one of them."""

PROBE_DEADLINE_S = 5.0

PACKAGES = (
    "tritonclient", "grpcio", "numpy", "opencv-python", "av", "pillow", "onnxruntime",
    "onnxruntime-gpu", "openvino",
)  # fmt: skip


MARKS = {True: "ok  ", False: "BAD ", None: "    "}


@click.command()
@click.option("--server", metavar="HOST:PORT", help="A Triton server to ask.")
@tls_options
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Only send the check image to the server; say nothing unless its face is not found.",
)
def doctor(*, server: str | None, tls: TLS | None, quiet: bool) -> None:
    """Say what is installed, reachable and missing, and what to do next.

    Exits with 0 when `faceblur blur` would work now; with --quiet, when the server does.
    """
    configure_logging(verbose=False, quiet=True)
    if quiet:
        probe(server, tls)
        return
    finding = None
    for finding in diagnose(server=server, tls=tls):
        click.echo(f"{MARKS[finding.good]}{finding.topic}: {finding.text}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    if finding is None or not finding.good:
        sys.exit(6)


@dataclass(frozen=True)
class Check:
    """One fact; `good` is None when it is neither good nor bad."""

    topic: str
    good: bool | None
    text: str
    advice: str = ""


def probe(server: str | None = None, tls: TLS | None = None) -> None:
    """Have a server find the face of the check image, and do nothing else.

    Raises:
        ServerError: It did not.
    """
    connection = Connection(
        address=server or DEFAULT_SERVER,
        tls=tls,
        deadline_s=PROBE_DEADLINE_S,
        transport="raw",
        # A health check does not wait for files.
        priority="live",
    )
    detector = TritonDetector(connection)
    try:
        canary.check(detector, deadline_s=PROBE_DEADLINE_S, copies=PROBES)
    finally:
        detector.close()


def diagnose(*, server: str | None = None, tls: TLS | None = None) -> Iterator[Check]:
    """Check everything that blurring needs, one check after the other.

    The last one says whether `faceblur blur` works now, after having found the face of the check
    image the way `blur` would.
    """
    yield Check("Python", None, f"{platform.python_version()} on {platform.platform()}")
    yield Check("packages", None, ", ".join(_versions()))
    yield _embedded()
    yield from _gpus()
    yield from _video()
    yield from map(_shipped, SHIPPED)
    cached = models.cached_models()
    if cached:
        yield Check("fetched models", None, ", ".join(cached))
    yield Check("defaults", None, f"threshold {DEFAULT_THRESHOLD:g}, size {DEFAULT_SIZE}")
    yield _server(server, tls)
    yield _end_to_end(server, tls)


def _versions() -> Iterator[str]:
    missing = set()
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            missing.add(name)
    # Two builds of one thing, of which one is enough.
    builds = {"onnxruntime", "onnxruntime-gpu"}
    missing -= {"onnxruntime-gpu"} if builds <= missing else builds
    yield from (f"{name} missing" for name in PACKAGES if name in missing)


def _embedded() -> Check:
    try:
        runtime = TritonRuntime.find()
    except FaceblurError as error:
        return Check("embedded server", None, str(error), "blur detects in its own process")
    version = f"nvidia-pytriton {runtime.version}, Python {sys.version_info.minor}"
    return Check("embedded server", True, version.replace("Python ", "stub for Python 3."))


def _gpus() -> Iterator[Check]:
    """Each GPU; what does not use it is said with `blur`, which shows what ran."""
    for gpu in find_gpus():
        gib = gpu.memory_bytes / (1 << 30)
        text = f"{gpu.index}: {gpu.name}, {gib:.0f} GiB, driver {gpu.driver}"
        try:
            choice = runtimes.choose(models.find(automatic_model("image"))[0], gpus=(gpu.index,))
        except FaceblurError as error:
            yield Check("GPU", False, f"{text}, is not used", str(error))
        else:
            yield Check("GPU", True, f"{text}, runs {choice.where.partition(' on ')[0]}")


def _video() -> Iterator[Check]:
    """What decodes and encodes videos where the choice is left to what was measured, and why."""
    chosen = {codec: choose_decoder("auto", codec) for codec in EXACT_CODECS}
    told: dict[str, list[str]] = {}
    for codec, each in chosen.items():
        told.setdefault(f"{each.name or 'the CPU'} ({each.why})", []).append(codec)
    for by, codecs in told.items():
        good = None if by.startswith("the CPU") else True
        yield Check("decoding", good, f"{', '.join(codecs)} by {by}")
    encoder = choose_encoder_like("libx264")
    if encoder.name is None:
        yield Check("encoding", None, f"libx264 ({encoder.why})")
    else:
        advice = "faceblur blur --encoder auto takes it"
        yield Check("encoding", True, f"{encoder.name} is here ({encoder.why})", advice)


def _shipped(name: str) -> Check:
    topic = f"{name} model"
    try:
        path, model = models.find(name)
        metadata = open_onnx(path, threads=1).get_modelmeta().custom_metadata_map
    except FaceblurError as error:
        return Check(topic, False, str(error), "name a model with --model")
    variant, precision = metadata.get("variant", "?"), metadata.get("precision", "?")
    return Check(topic, True, f"{variant}, {precision}, sha256 {model.sha256[:12]}")


def _server(server: str | None, tls: TLS | None) -> Check:
    address = server or DEFAULT_SERVER
    try:
        detector = TritonDetector(
            Connection(address=address, tls=tls, deadline_s=5.0, priority="live")
        )
    except ServerUnavailableError as error:
        if server is None:
            return Check("server", None, f"none at {address}; blur starts its own")
        return Check("server", False, str(error), "check the address, or leave out --server")
    except FaceblurError as error:
        return Check("server", False, str(error), "stop what listens there")
    try:
        canary.check(detector, deadline_s=5.0, routes=detector)
    except FaceblurError as error:
        return Check("server", False, f"{address}: {error}", "start it again: faceblur serve")
    finally:
        detector.close()
    model = detector.model
    by = f" on {detector.runs_on}" if detector.runs_on else ""
    text = f"{address} serves {model.name}{by}, sha256 {model.sha256[:12]}, by {detector.transport}"
    return Check("server", True, text)


def _end_to_end(server: str | None, tls: TLS | None) -> Check:
    try:
        # A server that is asked how it is must not wait for its files.
        media: Media = "image" if server is None else "camera"
        with open_session(SessionOptions(server=server, tls=tls), media=media) as session:
            text = f"a known face was found by the {session.model.name} model, {session.where}"
            return Check("blur", True, text, "faceblur blur PHOTO-OR-VIDEO")
    except FaceblurError as error:
        return Check("blur", False, str(error), "mend the points above")
