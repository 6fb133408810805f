"""Mask an image or a video, or find its faces, by one call; all calls share their servers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.image import ImageOptions, mask_image
from faceblur.batch.video import Progress, mask_video
from faceblur.blurrer import Blurrer, Masked
from faceblur.detection.detect import detect as find_faces
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, DetectionOptions, Tiles
from faceblur.detection.shared import shared_session
from faceblur.detections import Detections, FrameDetections, MediaDetections
from faceblur.errors import InputError
from faceblur.image.io import image_of, read_image, write_image
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.video.kinds import kind_of

Source: TypeAlias = str | os.PathLike[str] | npt.NDArray[Any]
"""A file, or an image: (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) grey; uint8 or uint16."""


@overload
def blur(
    source: Source,
    out: None = None,
    *,
    mask: MaskStyle | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    tiles: Tiles = "auto",
) -> Masked: ...


@overload
def blur(
    source: Source,
    out: str | os.PathLike[str],
    *,
    mask: MaskStyle | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    tiles: Tiles = "auto",
) -> MediaDetections: ...


def blur(
    source: Source,
    out: str | os.PathLike[str] | None = None,
    *,
    mask: MaskStyle | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    tiles: Tiles = "auto",
) -> Masked | MediaDetections:
    """Mask every face of an image, in a file or in memory.

    The first call connects to a server on this machine, else starts one; all calls of the process
    for images share it, and it ends with the process (`blur_video` has one of its own, with the
    fast model). Safe to call from threads, and after a fork.

    Args:
        source: The image, which is not changed.
        out: The file for the result, whose suffix decides the format. All pages of a document and
            all frames of an animation are masked, or it does not appear. None keeps the result in
            memory, which needs an image of one page.
        mask: What covers a face.
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of the image given to the network, pixels; 2048 at most.
        tiles: "auto" detects large images in parts too, "fine" in more of them, "off" never.

    Returns:
        The masked image and its faces; with `out`, what was masked on each page.

    Raises:
        InputError: The source, or an argument, cannot be used.
        OutputError: The result cannot be written.
        ServerError: It could not be checked for faces.

    Example:
        >>> safe = faceblur.blur(frame)
        >>> report = faceblur.blur("photo.jpg", "safe.jpg", mask=faceblur.MaskStyle(mode="blur"))
        >>> [len(page.detections) > 0 for page in report.frames]
        [True]
    """
    detection = DetectionOptions(threshold=threshold, size=size, tiles=tiles)
    policy = Policy(mask=mask or MaskStyle(), detection=detection)
    if out is not None and not isinstance(source, np.ndarray):
        found = DetectedFaces(shared_session().detector, policy)
        path = _image_path(source)
        return mask_image(path, Path(out), find_faces=found, policy=policy, options=ImageOptions())
    pixels = _pixels(source)
    masker = Masker(policy.mask)
    safe = Blurrer(shared_session(), masker=masker, options=detection)(pixels)
    if out is None:
        return safe
    height, width = safe.image.shape[:2]
    write_image(Path(out), image_of(safe.image))
    return MediaDetections(Path(out), width, height, [FrameDetections(0, 0.0, safe.detections)])


def detect(
    source: Source,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    tiles: Tiles = "auto",
) -> Detections:
    """Find the faces of an image; the server and the arguments are those of `blur`.

    Returns:
        Boxes, scores and landmarks, in pixels of the upright image, best score first.

    Raises:
        InputError: The source, or an argument, cannot be used.
        ServerError: It could not be checked for faces.

    Example:
        >>> faces = faceblur.detect("photo.jpg")
        >>> faces.boxes.shape[1], bool(faces.scores[0] > 0.5)
        (4, True)
    """
    options = DetectionOptions(threshold=threshold, size=size, tiles=tiles)
    return find_faces(shared_session().detector, _pixels(source), options)


def blur_video(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    mask: MaskStyle | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    tiles: Tiles = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> MediaDetections:
    """Mask every face of a video; it shares a server with `blur`.

    Faces are tracked, times, audio and subtitles stay. The result appears when every frame was
    checked and masked, or not at all.

    Args:
        source: The video, which is not changed.
        out: The file for the result; the suffix decides the container.
        mask: What covers a face.
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of the frame given to the network, pixels; 2048 at most.
        tiles: "auto" looks at the parts of large frames in turn too, "fine" at smaller ones, "off"
            never.
        on_progress: Called after each frame, in this thread.

    Returns:
        What was masked in each frame.

    Raises:
        InputError: The source, or an argument, cannot be used.
        OutputError: The result cannot be written.
        ServerError: A frame could not be checked for faces.

    Example:
        >>> report = faceblur.blur_video("clip.mp4", "safe.mp4")
        >>> [len(frame.detections) for frame in report.frames]
        [1, 1]
    """
    detection = DetectionOptions(threshold=threshold, size=size, tiles=tiles)
    policy = Policy(mask=mask or MaskStyle(), detection=detection)
    source, out = Path(source), Path(out)
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out} is the source itself: choose another name for the result")
    return mask_video(
        source,
        out,
        find_faces=DetectedFaces(shared_session("video").detector, policy),
        policy=policy,
        on_progress=on_progress,
    )


def _image_path(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_file() and kind_of(path) == "video":
        raise InputError(f"{path} is a video: use faceblur.blur_video")
    return path


def _pixels(source: Source) -> npt.NDArray[Any]:
    if isinstance(source, np.ndarray):
        return source
    image = read_image(_image_path(source))
    if image.page_count > 1:
        raise InputError(
            f"{image.path} has {image.page_count} pages: give faceblur.blur a file for the result, "
            "or one page as an array"
        )
    return next(image.pages).pixels
