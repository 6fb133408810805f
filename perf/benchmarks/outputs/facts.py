"""What is known of a result, in a form that two runs of the same code share to the letter."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

try:
    import pillow_heif
except ImportError:
    pass
else:
    pillow_heif.register_heif_opener()

IMAGES: Final = {
    ".jpg", ".png", ".bmp", ".ppm", ".jp2", ".webp", ".avif", ".tiff", ".gif", ".heic",
}  # fmt: skip
VIDEOS: Final = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts"}
PASSING: Final = {"started", "ended", "seconds", "wall_s", "settings_sha256"}
"""Keys whose values differ from run to run, or with what a file holds of them."""

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_TIME = re.compile(r"\b\d+(?:\.\d+)? (?:s|fps|frames/s)\b")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)?")
_COLUMN = re.compile(r"(\d|-) (?:\d+\.\d) ((?:masked|skipped|failed|copied)\b)")
_PORT = re.compile(r"\b127\.0\.0\.1:\d{5}\b")


def file_facts(path: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a file.

    Args:
        path: Of the file.
        names: What to write for hashes and folders: text, and what stands for it.
    """
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return _video(path)
    if suffix in IMAGES:
        return _image(path)
    if suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if suffix == ".jsonl" else [path.read_text()]
        entries = [_json(json.loads(line), names) for line in lines if line.strip()]
        # Workers finish in any order; an audit is a chain, whose order counts.
        by_name = {str(each.get("name", "")): each for each in entries}
        return {"json": by_name if path.name == "finished.jsonl" else entries}
    if suffix in (".txt", ".csv", ".md"):
        return {"text": plain(path.read_text(), names)}
    return {"there": True}


def plain(text: str, names: Mapping[str, str]) -> list[str]:
    """The lines of a text, without folders, hashes and times of this run."""
    for long, short in names.items():
        text = text.replace(long, short)
    text = _HASH.sub("<hash>", _PORT.sub("127.0.0.1:<port>", text.replace("\r", "\n")))
    text = _MOMENT.sub("<moment>", _TIME.sub("<time>", text))
    lines = [_COLUMN.sub(r"\1 <time> \2", " ".join(line.split())) for line in text.splitlines()]
    return [line for line in lines if line]


def _json(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _json(each, names) for key, each in value.items() if key not in PASSING}
    if isinstance(value, list):
        return [_json(each, names) for each in value]
    return "\n".join(plain(value, names)) if isinstance(value, str) else value


def _digest(parts: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def _image(path: Path) -> dict[str, Any]:
    try:
        with Image.open(path) as image:
            pages = [
                {
                    "mode": page.mode,
                    "size": list(page.size),
                    "duration": page.info.get("duration"),
                    "pixels": _digest([page.tobytes()]),
                }
                for page in ImageSequence.Iterator(image)
            ]
            kept = sorted(set(image.info) & {"exif", "xmp", "icc_profile", "dpi", "comment"})
            return {"format": image.format, "pages": pages, "kept": kept}
    except (UnidentifiedImageError, OSError) as error:
        return {"unreadable": type(error).__name__}


def _video(path: Path) -> dict[str, Any]:
    try:
        with av.open(str(path)) as container:
            metadata = {k: v for k, v in container.metadata.items() if k.lower() != "encoder"}
            facts: dict[str, Any] = {"format": container.format.name, "metadata": metadata}
            facts["streams"] = [_stream(stream) for stream in container.streams]
        facts["frames"], facts["sound"] = _decoded(path)
    except av.FFmpegError as error:
        return {"unreadable": type(error).__name__}
    return facts


def _stream(stream: Any) -> dict[str, Any]:
    codec = stream.codec_context
    facts = {"type": stream.type, "codec": codec.name if codec else None}
    facts["metadata"] = {
        key: value
        for key, value in stream.metadata.items()
        if key.lower() not in ("encoder", "duration", "vendor_id")
    }
    if stream.type == "video":
        facts |= {
            "size": [codec.width, codec.height],
            "pixels": codec.pix_fmt,
            "aspect": str(codec.sample_aspect_ratio),
            "colour": [codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc],
            "time_base": str(stream.time_base),
        }
    if stream.type == "audio":
        facts |= {"rate": codec.sample_rate, "layout": codec.layout.name}
    return facts


def _decoded(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    images, times, sound = [], [], []
    with av.open(str(path)) as container:
        for stream in container.streams.video:
            stream.thread_type = "NONE"
        packets: dict[int, list[bytes]] = {}
        for packet in container.demux():
            if packet.stream.type == "video":
                for frame in packet.decode():
                    images.append(_digest([_samples(frame, plane) for plane in frame.planes]))
                    times.append(round(float(frame.time or 0.0), 4))
            elif packet.size:
                packets.setdefault(packet.stream.index, []).append(bytes(packet))
        sound = [
            {"stream": index, "packets": len(own), "bytes": _digest(own)}
            for index, own in sorted(packets.items())
        ]
    pixels = _digest([each.encode() for each in images])
    return {"count": len(images), "pixels": pixels, "times": times}, sound


def _samples(frame: Any, plane: Any) -> bytes:
    """A plane without what lies beside its lines, which is not the same each time."""
    several = len(frame.planes) > 1
    bits = frame.format.components[0].bits if several else frame.format.padded_bits_per_pixel
    width = min(plane.line_size, plane.width * (-(-bits // 8)))
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, :width].tobytes()
