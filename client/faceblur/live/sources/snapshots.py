"""Cameras that give one image at a time: fetched over HTTP again and again."""

from __future__ import annotations

import email.utils
import hashlib
import io
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from faceblur.errors import InputError
from faceblur.image.metadata import READ_ERRORS, orientation_of
from faceblur.image.pillow import from_pillow
from faceblur.image.pixels import hide_transparent, upright
from faceblur.live.sources.options import SourceOptions

MAX_BYTES: Final = 32 << 20
"""An image that takes more is none of a camera."""
MAX_PIXELS: Final = 7680 * 4320
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
_PIECE: Final = 1 << 16
_REFUSED: Final = (400, 401, 403, 404, 405, 410)
"""Answers that are the same however often one asks."""


class Snapshots:
    """Asks a source of the kind "snapshot" every so often, and gives out the new images."""

    def __init__(self, options: SourceOptions) -> None:
        url = urlsplit(options.url)
        host = url.netloc.rpartition("@")[2]
        self._options = options
        self._url = urlunsplit((url.scheme, host, url.path or "/", url.query, ""))
        self._opener = _opener(self._url, unquote(url.username or ""), unquote(url.password or ""))
        self._last_digest = b""

    def images(self) -> Iterator[av.VideoFrame]:
        """New images as they come, at most one every `interval_s`.

        What cannot be fetched, is not an image or is the same image again is left out; the camera
        counts as frozen when there is none but such for `stall_timeout_s`.

        Raises:
            InputError: The first one cannot be had, or no further one.
        """
        options = self._options
        limit_s = time.monotonic() + options.open_timeout_s
        while True:
            asked_s = time.monotonic()
            failure = "it sends the same image again and again"
            try:
                image = self._new()
            except (OSError, HTTPException, ValueError) as error:
                image, failure = None, _reason(error)
                if _is_final(error) and not self._last_digest:
                    raise InputError(f"{options.label}: {failure}") from error
            if image is not None:
                yield image
                limit_s = time.monotonic() + options.quiet_s
            elif time.monotonic() > limit_s:
                raise InputError(f"{options.label}: {failure}")
            time.sleep(max(0.0, asked_s + options.interval_s - time.monotonic()))

    def _new(self) -> av.VideoFrame | None:
        """The image that the camera has now; None if it is the one it had before."""
        data = self._fetch()
        digest = hashlib.sha256(data).digest()
        if digest == self._last_digest:
            return None
        image = decode(data)
        self._last_digest = digest
        return image

    def _fetch(self) -> bytes:
        options = self._options
        timeout_s = min(options.open_timeout_s, options.stall_timeout_s)
        end_s = time.monotonic() + timeout_s
        request = urllib.request.Request(
            self._url, headers={"User-Agent": "faceblur", "Cache-Control": "no-cache"}
        )
        with self._opener.open(request, timeout=timeout_s) as answer:
            _check(answer, options.quiet_s)
            data = bytearray()
            while piece := answer.read1(_PIECE):
                data += piece
                if len(data) > MAX_BYTES:
                    raise InputError(f"it sends more than {MAX_BYTES >> 20} MB, which is no image")
                if time.monotonic() > end_s:
                    raise TimeoutError(f"no whole image within {timeout_s:g} s")
            promised = answer.headers.get("Content-Length", "")
            if promised.isdigit() and len(data) < int(promised):
                raise InputError("the image is cut off")
        return bytes(data)


def decode(data: bytes) -> av.VideoFrame:
    """The image in the answer of a camera, upright.

    Raises:
        InputError: There is none, or it is damaged or too large.
    """
    try:
        # Its own limit is there for batches of unknown files; ours is lower than it.
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{image.width} × {image.height} pixels are too many")
            if min(image.size) < 16:
                raise InputError(f"{image.width} × {image.height} pixels are too few")
            image.load()
            pixels = upright(from_pillow(image), orientation_of(image))
    except Image.DecompressionBombError:
        raise InputError("the image has too many pixels") from None
    except UnidentifiedImageError:
        raise InputError("what it sends is no image") from None
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError("the image is damaged or cut off") from error
    hide_transparent(pixels)
    if pixels.dtype != np.uint8:
        raise InputError("the image has more than 8 bits to a colour")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    bgr = np.ascontiguousarray(pixels[..., :3])
    return av.VideoFrame.from_ndarray(bgr, format="bgr24")


def _opener(url: str, user: str, password: str) -> urllib.request.OpenerDirector:
    """What asks the camera itself: through no proxy, and by HTTP alone."""
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if user or password:
        passwords.add_password(None, urljoin(url, "/"), user, password)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        # Cameras sign their certificates themselves; the other kinds of sources ask for none.
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDigestAuthHandler(passwords),
        _Basic(passwords),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Basic(urllib.request.HTTPBasicAuthHandler):
    """Leaves other methods alone, which Python's own takes for an error."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Answer with name and password where Basic is among the ways that are offered."""
        ways = " ".join(headers.get_all("WWW-Authenticate") or ()).lower()
        return super().http_error_401(req, fp, code, msg, headers) if "basic" in ways else None


def _check(answer: HTTPResponse, old_s: float) -> None:
    """Raise an `InputError` for answers that are not a current image."""
    kind = answer.headers.get_content_maintype()
    if kind == "multipart":
        raise InputError("it is a stream of images; write its address as mjpeg:http://…")
    if kind in ("text", "video", "audio"):
        raise InputError(f"it sends {answer.headers.get_content_type()} and no image")
    age_s = _age_s(answer.headers)
    if age_s > old_s:
        raise InputError(f"its image is {age_s:.0f} s old")


def _age_s(headers: HTTPMessage) -> float:
    """How old the server says the image is, by its own clock."""
    try:
        now = email.utils.parsedate_to_datetime(headers["Date"])
        then = email.utils.parsedate_to_datetime(headers["Last-Modified"])
        return (now - then).total_seconds()
    except (TypeError, ValueError):
        return 0.0


def _is_final(error: Exception) -> bool:
    """Whether asking again is of no use."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _REFUSED
    return isinstance(error, ValueError)


def _reason(error: Exception) -> str:
    """Why there is no image, in a few words and without the address."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code == 401:
            return "it asks for another user or password (401)"
        return f"it answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        inner = error.reason
        return _reason(inner) if isinstance(inner, OSError) else str(inner)
    if isinstance(error, TimeoutError):
        return str(error) if "image" in str(error) else "it does not answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ValueError) and not isinstance(error, InputError):
        return "it asks for a password in another way than Basic or Digest"
    if isinstance(error, HTTPException):
        return "what it answers is no HTTP"
    return str(error)
