"""TensorRT on the device: builds the engine of a bundle's graph once, keeps it, runs it.

An engine belongs to one TensorRT version and one GPU, so a bundle holds the graph and a recipe, and
the device builds. `engine` says when a kept engine may be used; `cuda` is the little of the CUDA
runtime that is needed; `program` is the executor.
"""

from .program import TensorRTProgram

__all__ = ["TensorRTProgram"]
