"""Programs for NVIDIA GPUs on a machine without one: the bundle's CUDA source, emulated."""

from .emulated import EmulatedCuda

__all__ = ["EmulatedCuda"]
