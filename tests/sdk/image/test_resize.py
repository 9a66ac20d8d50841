"""Resizing against torch (same weights, no rounding) and Pillow (rounds to 8 bits twice)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from millijoule.image import resize

SIZES = [
    (16, 16, 8, 8),
    (17, 33, 5, 64),
    (40, 30, 40, 7),
    (1, 1, 9, 3),
    (64, 63, 1, 1),
    (9, 9, 9, 9),
]
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def _image(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width", "new_height", "new_width"), SIZES)
def test_against_torch(
    height: int, width: int, new_height: int, new_width: int, interpolation: str
) -> None:
    image = _image(height, width) / np.float32(255)
    expected = F.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None],
        (new_height, new_width),
        mode=interpolation,
        antialias=True,
        align_corners=False,
    )
    found = resize(image, new_height, new_width, interpolation)
    assert found.dtype == np.float32
    # sums of up to 64 products in float32, and weights that torch forms in float32
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), atol=2e-5)


@pytest.mark.parametrize(("interpolation", "levels"), [("bilinear", 1.01), ("bicubic", 2.0)])
@pytest.mark.parametrize(("height", "width", "new_height", "new_width"), SIZES)
def test_against_pillow(
    height: int, width: int, new_height: int, new_width: int, interpolation: str, levels: float
) -> None:
    image = _image(height, width)
    expected = np.asarray(
        Image.fromarray(image).resize((new_width, new_height), PILLOW[interpolation])
    )
    found = np.clip(
        255 * resize(image / np.float32(255), new_height, new_width, interpolation), 0, 255
    )
    assert np.abs(found - expected).max() <= levels


def test_a_constant_stays_constant() -> None:
    image = np.full((37, 5, 1), 0.3, np.float32)
    for size in ((11, 9), (100, 1)):
        np.testing.assert_allclose(resize(image, *size, "bicubic"), 0.3, rtol=1e-6)
