"""Cover over time: no face flashes through because one frame's detection failed.

The tracker has one reason to exist, and that is coverage. It does not say who is who: two faces
that swap tracks are both masked throughout.
"""

from faceblur.tracking.live import LiveCover
from faceblur.tracking.options import CoverOptions
from faceblur.tracking.window import cover

__all__ = ["CoverOptions", "LiveCover", "cover"]
