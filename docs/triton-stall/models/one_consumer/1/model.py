"""Gives back what it was given, after 5 ms."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A stand-in for any model."""

    def execute(self, requests):
        """Answer every request."""
        time.sleep(0.005 * len(requests))
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(request, "x").as_numpy())]
            )
            for request in requests
        ]
