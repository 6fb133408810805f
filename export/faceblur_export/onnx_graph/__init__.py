"""The detector as an ONNX graph."""
