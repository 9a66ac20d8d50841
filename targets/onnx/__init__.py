"""Models as ONNX graphs (opset 17), written operator by operator from Relax.

`onnx_graph` gives the model; `TABLE` is what it can write. Spiking layers are loops (``Scan``) in a
whole sequence, and single steps with explicit states in a streaming program: inputs
``state:<name>``, outputs ``next:<name>``.
"""

from millijoule.targets.onnx.emit import TABLE
from millijoule.targets.onnx.write import OPSET, OnnxGraph, onnx_graph

__all__ = ["OPSET", "TABLE", "OnnxGraph", "onnx_graph"]
