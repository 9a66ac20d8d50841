"""Sizes of TIR buffers of static shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def itemsize(buffer: Any) -> int:
    """Bytes of an element."""
    return np.dtype(str(buffer.ty.dtype)).itemsize


def nbytes(buffer: Any) -> int:
    """Bytes of all elements."""
    return math.prod(int(extent) for extent in buffer.shape) * itemsize(buffer)
