"""The decode and suppression that Triton runs, for use in this process.

The code is `model_repository/face_postprocess/1/face_decoding.py`; there is no second one.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from faceblur.repository import model_repository

if TYPE_CHECKING:
    import face_decoding
else:
    _spec = importlib.util.spec_from_file_location(
        "face_decoding", model_repository() / "face_postprocess" / "1" / "face_decoding.py"
    )
    face_decoding = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(face_decoding)

decode = face_decoding.decode
find_faces = face_decoding.find_faces
suppress = face_decoding.suppress
