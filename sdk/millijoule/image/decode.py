"""Image files → pixels: PNG by `png`, JPEG through Pillow where that is installed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..errors import DeviceError
from .png import MAX_PIXELS, SIGNATURE, read_png

__all__ = ["SUFFIXES", "decode"]

#: Suffixes of the files that :func:`decode` takes; what is in a file decides, not its name.
SUFFIXES = (".png", ".jpg", ".jpeg")
_JPEG = b"\xff\xd8\xff"


def decode(data: bytes) -> np.ndarray:
    """Pixels, float32 [height, width, 1 or 3] in 0…1.

    Transparency is dropped, as ``PIL.Image.convert("RGB")`` does; a JPEG is turned the way its EXIF
    orientation says.

    Raises:
        ValueError: neither PNG nor JPEG, a damaged file, or one that is too large; one line.
        DeviceError: a JPEG without Pillow.
    """
    if data.startswith(SIGNATURE):
        return read_png(data)
    if data.startswith(_JPEG):
        return _read_jpeg(data)
    raise ValueError("neither a PNG nor a JPEG file; convert it to PNG")


def _read_jpeg(data: bytes) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise DeviceError(
            "[image] reading JPEG needs the package Pillow; run pip install 'millijoule[image]', "
            "or convert the file to PNG, which needs nothing"
        ) from None
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{image.width} × {image.height} pixels; at most {MAX_PIXELS} are read"
                )
            upright: Any = ImageOps.exif_transpose(image)
            pixels = np.asarray(upright.convert("L" if upright.mode == "L" else "RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"not a readable JPEG file ({reason})") from None
    return (pixels.reshape(*pixels.shape[:2], -1) / np.float32(255)).astype(np.float32)
