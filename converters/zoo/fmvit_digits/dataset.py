"""The data: scikit-learn's copy of the optical digits of UCI, 1,797 images of 8 × 8 pixels.

The images are the *test part* of that data set, written by 13 people. The split here is by
position: the last 360 images are held out. Writers are not named, so some may be in both parts.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from millijoule.image import ImageFrontend, image_frontend

T = TypeVar("T", bound=Any)  # an array or a tensor

HELD_OUT = 360
LEVELS = 16  # pixels count the dark dots of a 4 × 4 block


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [1797, 8, 8, 1] in 0…1 (ink is 1) and labels int64 [1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images[..., None] / LEVELS).astype(np.float32), digits.target.astype(np.int64)


def split(values: T) -> tuple[T, T]:
    """(training part, held-out part)."""
    return values[:-HELD_OUT], values[-HELD_OUT:]


def prepare(images: np.ndarray, frontend: ImageFrontend) -> np.ndarray:
    """What the model is given for ``images``: float32 [N, 1, 32, 32], through the front end."""
    return np.stack([frontend(image) for image in images])


def frontend_of(entry: dict[str, object]) -> ImageFrontend:
    """The front end that config.json describes."""
    return image_frontend(entry)
