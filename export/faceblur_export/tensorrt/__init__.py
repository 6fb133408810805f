"""TensorRT plans: built, cached, checked."""
