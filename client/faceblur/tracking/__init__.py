"""Cover over time: no face flashes through because one frame's detection failed.

The tracker has one reason to exist, and that is coverage. It does not say who is who: two faces
that swap tracks are both masked throughout. What it may be believed of a file afterwards, `naming`
says.
"""

from faceblur.tracking.live import LiveCover
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.window import fill_gaps

__all__ = ["LiveCover", "TrackingOptions", "fill_gaps"]
