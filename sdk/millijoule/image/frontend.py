"""From an image of any size to a model's input, as the bundle's manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..errors import UsageError
from .resize import FILTERS, resize

__all__ = ["ImageFrontend", "image_frontend"]

KIND = "image"
_LARGEST = 1 << 14
_LARGEST_NUMBER = float(np.finfo(np.float32).max)  # manifests hold integers of any length
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's convert("L")


@dataclass(frozen=True)
class ImageFrontend:
    """Resize the shorter side, cut out the centre, normalise.

    The steps are those of torchvision's ``Resize(resize)``, ``CenterCrop``, ``ToTensor``,
    ``Normalize(mean, std)``.

    Attributes:
        height: pixels of the result,
        width: …
        resize: the shorter side before the centre is cut out, at least height and width; None
            stretches the whole image to height × width.
        channels: 3 (RGB; grey is repeated) or 1 (grey; colours are weighted as Pillow does).
        mean: subtracted per channel from values in 0…1,
        std: what the result is divided by, per channel.
        interpolation: "bilinear" or "bicubic", both antialiased.
    """

    height: int
    width: int
    resize: int | None = None
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name in ("height", "width", "resize"):
            value = getattr(self, name)
            if value is not None or name != "resize":
                _require(_whole(value), name, f"a whole number from 1 to {_LARGEST}", value)
        _require(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        for name in ("mean", "std"):
            values = getattr(self, name)
            listed = isinstance(values, list | tuple) and all(map(_number, values))
            nonzero = name == "mean" or (listed and all(map(np.float32, values)))
            good = nonzero and listed and len(values) == self.channels
            what = "a finite number per channel" + (", none of them 0" if name == "std" else "")
            _require(good, name, what, values)
            object.__setattr__(self, name, tuple(float(v) for v in values))
        _require(
            isinstance(self.interpolation, str) and self.interpolation in FILTERS,
            "interpolation",
            f"one of {', '.join(FILTERS)}",
            self.interpolation,
        )
        smallest = max(self.height, self.width)
        if self.resize is not None:
            _require(self.resize >= smallest, "resize", f"at least {smallest}", self.resize)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The model's input for ``image`` [H, W, 1 or 3] with values in 0…1.

        Returns:
            float32 ``[channels, height, width]``.

        Raises:
            UsageError: another shape, or a side ratio that would take a resized image too large.
        """
        if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
            raise UsageError(
                f"[frontend] an image must have shape [H, W, 1 or 3], but has {list(image.shape)}"
            )
        pixels = self._channels(self._sized(image))
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1), np.float32)

    def _sized(self, image: np.ndarray) -> np.ndarray:
        if self.resize is None:
            return resize(image, self.height, self.width, self.interpolation)
        height, width = image.shape[:2]
        long = int(self.resize * max(height, width) / min(height, width))
        if long > _LARGEST:
            raise UsageError(
                f"[frontend] an image of {height} × {width} pixels is too long and narrow; "
                f"crop it to sides of at most {_LARGEST // self.resize} to 1"
            )
        size = (long, self.resize) if height > width else (self.resize, long)
        image = resize(image, *size, self.interpolation)
        top, left = (
            round((a - b) / 2) for a, b in zip(size, (self.height, self.width), strict=True)
        )
        return image[top : top + self.height, left : left + self.width]

    def _channels(self, image: np.ndarray) -> np.ndarray:
        if image.shape[2] == self.channels:
            return image
        if self.channels == 3:
            return np.repeat(image, 3, axis=2)
        return (image @ _LUMA)[:, :, np.newaxis]

    def to_manifest(self) -> dict[str, Any]:
        """The ``frontend`` entry of a manifest or of a model's config.json."""
        entry = asdict(self)
        return {"kind": KIND, **entry, "mean": list(self.mean), "std": list(self.std)}


def image_frontend(entry: Mapping[str, Any]) -> ImageFrontend:
    """Build the front end that a manifest describes.

    Args:
        entry: ``{"kind": "image", "height": …, "width": …, …}``; absent parameters take the
            defaults of :class:`ImageFrontend`.

    Raises:
        UsageError: another kind, an unknown or missing parameter, or a bad value.
    """
    parameters = dict(entry) if isinstance(entry, Mapping) else {}
    kind = parameters.pop("kind", None)
    _require(kind == KIND, "kind", repr(KIND), kind)
    known = [field.name for field in fields(ImageFrontend)]
    for name in sorted(set(parameters) - set(known)):
        raise UsageError(
            f"[frontend] unknown parameter {name!r}; valid ones are {', '.join(known)}"
        )
    for name in ("height", "width"):
        _require(name in parameters, name, "given", None)
    return ImageFrontend(**parameters)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and bool(abs(value) <= _LARGEST_NUMBER)  # neither NaN nor infinity


def _require(good: bool, name: str, rule: str, value: Any) -> None:
    if not good:
        raise UsageError(f"[frontend] {name} must be {rule}, but received {value!r}")
