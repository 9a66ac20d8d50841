"""Programs for NVIDIA GPUs, and on a machine without one the bundle's CUDA source, emulated."""

from .emulated import EmulatedCuda
from .program import CudaProgram

__all__ = ["CudaProgram", "EmulatedCuda"]
