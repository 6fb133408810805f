"""An embedded server that holds other topologies beside the product's ensemble."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Final, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks.analyzer_graph import write_graph
from faceblur.repository import model_repository
from faceblur.triton import DETECTOR, ENSEMBLE
from faceblur.triton_server import ServerOptions, TritonServer

Inputs = Literal["images", "scored", "jpeg"]

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
        Topology("ensemble", ENSEMBLE, "scored", (DETECTOR, "face_postprocess")),
        Topology("detector alone", DETECTOR, "images", (DETECTOR,)),
        Topology("in graph", "face_detection_in_graph", "scored", ("face_detection_in_graph",)),
        Topology("one model", "face_detection_one_model", "scored", ("face_detection_one_model",)),
    )
}

JPEG: Final = Topology(
    "ensemble", "face_detection_jpeg", "jpeg", ("jpeg_letterbox", DETECTOR, "face_postprocess")
)
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
        if source.name == TOPOLOGIES["in graph"].model:
            write_graph(options.onnx, version / "model.onnx")
        else:
            (version / "model.onnx").symlink_to(options.onnx.resolve())
            decoding = model_repository() / "face_postprocess" / "1" / "face_decoding.py"
            copyfile(decoding, version / "face_decoding.py")


class _Server(TritonServer):
    """Reads a second model repository too."""

    def __init__(self, options: ServerOptions, extra: Path) -> None:
        super().__init__(options)
        self._extra = extra

    def _command(self) -> Sequence[str]:
        return [*super()._command(), f"--model-repository={self._extra}"]
