"""The decode and suppression that Triton runs, for use in this process.

The code is `model_repository/face_postprocess/1/face_decoding.py`; there is no second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceblur.detection.repository import load_code

if TYPE_CHECKING:
    import face_decoding
else:
    face_decoding = load_code("face_postprocess", "face_decoding")

decode = face_decoding.decode
find_faces = face_decoding.find_faces
suppress = face_decoding.suppress
to_image = face_decoding.to_image
