"""Target ``tensorrt``: an ONNX graph and the recipe that a device builds its engine by.

Engines belong to one TensorRT version and GPU, so none is built here. What is checked here: ONNX
Runtime runs the very graph (``--device onnxruntime``), ONNX's checker accepts it, and TensorRT-RTX,
where it is installed, parses it and builds it ahead of time.
"""
