"""Short videos, cut out of a longer one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import click


def cut(video: Path, folder: Path, *, files: int, frames: int) -> Fraction:
    """Write so many videos of so many frames; how long each lasts, seconds.

    Raises:
        ClickException: The video is too short.
    """
    with av.open(str(video)) as source:
        stream = source.streams.video[0]
        rate = stream.average_rate or Fraction(25)
        decoded = source.decode(stream)
        for number in range(files):
            with av.open(str(folder / f"{number:03d}.mp4"), "w") as target:
                written = target.add_stream("libx264", rate=rate, options={"crf": "20"})
                written.width, written.height = stream.width, stream.height
                written.pix_fmt = "yuv420p"
                for index in range(frames):
                    frame = next(decoded, None)
                    if frame is None:
                        raise click.ClickException(
                            f"{video} has fewer than {files} × {frames} frames: give fewer of both"
                        )
                    picture = frame.reformat(format="yuv420p")
                    picture.pts, picture.time_base = index, 1 / rate
                    target.mux(written.encode(picture))
                target.mux(written.encode(None))
    return frames / rate
