"""Models that turn a text into a vector, on torch or on onnxruntime."""
