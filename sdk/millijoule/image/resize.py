"""Resizing with an antialiasing filter, as Pillow and torch's ``interpolate(antialias=True)`` do.

Along each axis, output pixel i has its centre at (i + ½)·s, where s is the old size over the new;
it is the weighted mean of the old pixels within r·max(s, 1) of it, weighted by the filter stretched
by max(s, 1). r is 1 for the triangle ("bilinear") and 2 for Keys' cubic with a = −½ ("bicubic").
"""

from __future__ import annotations

import numpy as np

__all__ = ["FILTERS", "resize"]


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


#: Filters by name, each with its radius.
FILTERS = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}


def resize(
    image: np.ndarray, height: int, width: int, interpolation: str = "bilinear"
) -> np.ndarray:
    """``image [H, W, C]`` as float32 [height, width, C].

    Against Pillow, which rounds to 8 bits after each of its two passes, results differ by up to
    one 255th (bicubic, where it also clips in between: two); against torch by rounding only.
    """
    result = _along(image.astype(np.float32, copy=False), width, interpolation)
    return _along(result.swapaxes(0, 1), height, interpolation).swapaxes(0, 1)


def _along(image: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """Resize axis 1."""
    if image.shape[1] == size:
        return image
    first, weights = _taps(image.shape[1], size, interpolation)
    result = np.zeros((image.shape[0], size, image.shape[2]), np.float32)
    for tap in range(weights.shape[1]):  # one gather per tap: no more memory than the result
        columns = np.minimum(first + tap, image.shape[1] - 1)
        result += image[:, columns] * weights[None, :, tap, None]
    return result


def _taps(old: int, new: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """First old pixel [new] and weights [new, taps] float32; taps beyond the image weigh 0."""
    kernel, radius = FILTERS[interpolation]
    scale = old / new
    stretch = max(scale, 1.0)
    reach = radius * stretch
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum(0, np.floor(centre - reach + 0.5)).astype(np.int64)
    last = np.minimum(old, np.floor(centre + reach + 0.5)).astype(np.int64)
    taps = np.arange(int((last - first).max()))
    position = first[:, None] + taps
    weights = kernel((position + 0.5 - centre[:, None]) / stretch)
    weights = np.where(position < last[:, None], weights, 0)
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)
