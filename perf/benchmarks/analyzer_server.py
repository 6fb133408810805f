"""An embedded server that holds other topologies beside the product's ensemble."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree
from typing import Final, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks.analyzer_graph import write_graph
from faceblur.repository import model_repository
from faceblur.triton import DETECTOR, ENSEMBLE
from faceblur.triton_runtime import JPEG_MODEL, POSTPROCESS
from faceblur.triton_server import ServerOptions, TritonServer

Inputs = Literal["images", "scored", "jpeg"]

TWO_MODELS: Final = "face_detection_two_models"
"""The ensemble of a detector and a post-processing model, as on a GPU."""

FOLDER: Final = Path(__file__).resolve().parents[1] / "topologies"


@dataclass(frozen=True)
class Topology:
    """A way to divide the work.

    Attributes:
        name: What the tables call it.
        model: What requests name.
        inputs: What it takes: pixels; pixels and a score; a JPEG and a score.
        parts: Models whose statistics make up its stages.
    """

    name: str
    model: str
    inputs: Inputs
    parts: tuple[str, ...]


TOPOLOGIES: Final = {
    topology.name: topology
    for topology in (
        Topology("ensemble", ENSEMBLE, "scored", (DETECTOR,)),
        Topology("two models", TWO_MODELS, "scored", (DETECTOR, POSTPROCESS)),
        Topology("detector alone", DETECTOR, "images", (DETECTOR,)),
        Topology("in graph", "face_detection_in_graph", "scored", ("face_detection_in_graph",)),
    )
}

JPEG: Final = Topology("ensemble", "face_detection_jpeg", "jpeg", (JPEG_MODEL, DETECTOR))
"""The ensemble that takes pictures as JPEG."""


@contextlib.contextmanager
def topology_server(options: ServerOptions) -> Iterator[TritonServer]:
    """Serve the product's repository and the contenders in `perf/topologies`.

    Raises:
        ServerStartError: The server cannot run here.
    """
    with tempfile.TemporaryDirectory(prefix="faceblur-topologies-") as name:
        extra = Path(name)
        lay_out(extra, options)
        with _Server(options, extra) as server:
            yield server


def lay_out(folder: Path, options: ServerOptions) -> None:
    """Copy the contenders, with the detector's model in them and as many instances as it has."""
    _lay_out_two_models(folder)
    for source in sorted(FOLDER.iterdir()):
        version = folder / source.name / "1"
        version.mkdir(parents=True)
        copyfile(source / "1" / "model.py", version / "model.py")
        config = text_format.Parse(
            (source / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        config.instance_group[0].count = options.instances
        config.parameters["threads"].string_value = str(options.threads)
        (folder / source.name / "config.pbtxt").write_text(text_format.MessageToString(config))
        write_graph(options.onnx, version / "model.onnx")


def _lay_out_two_models(folder: Path) -> None:
    """Copy the ensemble and the post-processing as they are on a GPU; the detector is there."""
    copytree(model_repository() / POSTPROCESS, folder / POSTPROCESS)
    config = text_format.Parse(
        (model_repository() / ENSEMBLE / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    config.name = TWO_MODELS
    (folder / TWO_MODELS / "1").mkdir(parents=True)
    (folder / TWO_MODELS / "config.pbtxt").write_text(text_format.MessageToString(config))


class _Server(TritonServer):
    """Reads a second model repository too."""

    def __init__(self, options: ServerOptions, extra: Path) -> None:
        super().__init__(options)
        self._extra = extra

    def _command(self) -> Sequence[str]:
        return [*super()._command(), f"--model-repository={self._extra}"]
