"""Target ``litert``: models as ``.tflite`` flatbuffers, written operator by operator from Relax.

States of a streaming program are explicit inputs and outputs; a loop along time is a ``WHILE``.
Signs and other narrow integers are stored in 2, 4 or 8 bits and widened when the model is loaded.
ai-edge-litert runs the result on this machine as on a phone.
"""

from millijoule.targets.litert.emit import TABLE
from millijoule.targets.litert.write import LitertGraph, litert_graph

__all__ = ["TABLE", "LitertGraph", "litert_graph"]
