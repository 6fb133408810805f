"""Export YOLOv5-face to ONNX, TensorRT and a Triton model repository."""
