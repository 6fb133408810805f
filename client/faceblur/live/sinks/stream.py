"""Publish to a server, a playlist or a device, by FFmpeg's own muxers."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import av

from faceblur.live.audio import AudioFormat
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.encoder import INTERLEAVE
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.stuck_peers import limit_silence
from faceblur.live.sinks.writer import EncodedWriter

logger = logging.getLogger(__name__)

HLS_LIST: Final = 6
"""Segments in an HLS playlist."""

ROOM_BYTES: Final = 10_000_000
"""With less than this a folder is as good as full."""

_MUXERS: Final = {"rtsp": "rtsp", "rtmp": "flv"}
_MUXER_SETTINGS: Final = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtmp": {"flvflags": "no_duration_filesize"},
}


class StreamWriter(EncodedWriter):
    """Publishes to an RTSP or RTMP server, into an HLS folder or to a V4L2 device."""

    _room_s = 0.0
    """When room was last checked."""

    def open_target(self) -> Any:
        """Open FFmpeg's container of this kind of sink."""
        options = self._options
        if options.kind == "v4l2":
            return av.open(options.target, "w", format="v4l2")
        if options.kind == "hls":
            folder = Path(options.target)
            folder.mkdir(parents=True, exist_ok=True)
            settings = _hls(options, folder) | INTERLEAVE
            return av.open(str(folder / "index.m3u8"), "w", format="hls", options=settings)
        return av.open(
            options.target,
            "w",
            format=_MUXERS[options.kind],
            options=_MUXER_SETTINGS[options.kind] | INTERLEAVE,
            timeout=(options.open_timeout_s, options.write_timeout_s),
        )

    def _check_target(self) -> None:
        """FFmpeg goes on writing a playlist to a full disk, and says nothing."""
        now_s = time.monotonic()
        if self._options.kind != "hls" or now_s - self._room_s < 1.0:
            return
        self._room_s = now_s
        folder = Path(self._options.target)
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _start(self, format_: FrameFormat, audio: AudioFormat | None) -> None:
        try:
            super()._start(format_, audio)
            self._target.start_encoding()
        except (ConnectionError, TimeoutError):
            raise
        except (av.error.FFmpegError, OSError) as error:
            if audio is None:
                raise
            # Frames are worth more than audio: perhaps it is what the other side does not take.
            self._target = self._encoder = None
            self._start(format_, None)
            logger.warning(
                "%s: goes without sound: %s: %s", self._options.label, audio.codec, error
            )
            return
        if self._options.kind in _MUXERS:
            limit_silence(self._options.write_timeout_s)


def _hls(options: SinkOptions, folder: Path) -> dict[str, str]:
    return {
        "hls_time": f"{options.segment_s:g}",
        "hls_list_size": str(HLS_LIST),
        # Players that are behind still find the segments that just left the list.
        "hls_delete_threshold": "3",
        "hls_flags": "delete_segments+independent_segments+temp_file+program_date_time"
        "+append_list+discont_start+omit_endlist",
        "hls_start_number_source": "epoch",
        "hls_segment_filename": str(folder / "segment-%d.ts"),
    }
