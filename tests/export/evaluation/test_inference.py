"""How images are fitted into a model's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matched_faces import detections

from faceblur.errors import InputError
from faceblur_export.evaluation.inference import fit_image, plan_model_input


class TestLetterboxStyles:
    def test_the_reference_pads_to_64(self):
        plan = plan_model_input(1024, 768, style="rectangular")
        assert (plan.shape, plan.resized, plan.top) == ((512, 640), (640, 480), 16)
        assert plan_model_input(1024, 768).shape == (480, 640)

    @given(st.integers(1, 4000), st.integers(1, 4000))
    def test_boxes_come_back_where_they_were(self, width, height):
        plan = plan_model_input(width, height, style="rectangular")
        assert max(plan.resized) == 640
        assert min(plan.resized) > 0
        assert all(side % 64 == 0 for side in plan.shape)
        assume(min(plan.resized) > 8)
        whole = (plan.left, plan.top, plan.left + plan.resized[0], plan.top + plan.resized[1])
        back = plan.to_source(detections((whole, 0.5))).boxes[0]
        np.testing.assert_allclose(back, [0, 0, width, height], atol=1e-2)

    def test_a_image_fills_its_window(self):
        image = np.full((300, 1000, 3), 200, np.uint8)
        plan = plan_model_input(1000, 300, style="rectangular")
        canvas = fit_image(image, plan, style="rectangular")
        assert canvas.shape == (*plan.shape, 3)
        assert (canvas[plan.top : plan.top + plan.resized[1]] == 200).all()
        assert (canvas[: plan.top] == 114).all()

    def test_a_size_that_the_reference_cannot_take(self):
        with pytest.raises(InputError, match="not a multiple of 64"):
            plan_model_input(100, 100, size=600, style="rectangular")
