"""The front end against the steps of torchvision's usual evaluation transform, and files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from fixtures.png import encode
from millijoule.errors import DeviceError, UsageError
from millijoule.image import ImageFrontend, decode, image_frontend

ENTRY = {"kind": "image", "height": 32, "width": 24, "resize": 40}


def _image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((height, width, channels), np.float32)


@pytest.mark.parametrize(("height", "width"), [(50, 70), (70, 50), (40, 40), (13, 200), (41, 43)])
def test_resize_crop_normalise(height: int, width: int) -> None:
    image = _image(height, width)
    long = int(40 * max(height, width) / min(height, width))
    size = (long, 40) if height > width else (40, long)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = F.interpolate(tensor, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = round((size[0] - 32) / 2.0), round((size[1] - 24) / 2.0)
    cropped = resized[0, :, top : top + 32, left : left + 24]
    mean, std = (
        torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    found = image_frontend(ENTRY)(image)
    assert found.shape == (3, 32, 24)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, ((cropped - mean) / std).numpy(), atol=1e-4)


def test_stretching_takes_the_whole_image() -> None:
    frontend = ImageFrontend(2, 2, channels=1, mean=(0.0,), std=(1.0,))
    image = np.kron([[0.0, 1.0], [0.25, 0.5]], np.ones((8, 4))).astype(np.float32)[:, :, None]
    found = frontend(image)[0]
    np.testing.assert_allclose(found.mean(), image.mean(), atol=1e-6)
    assert found[0, 0] < found[1, 0] < found[1, 1] < found[0, 1]


def test_channels_are_repeated_or_weighted() -> None:
    neutral: dict[str, Any] = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    grey, colour = _image(8, 8, 1), _image(8, 8, 3)
    repeated = image_frontend({"kind": "image", "height": 8, "width": 8, **neutral})(grey)
    assert repeated.shape == (3, 8, 8)
    assert np.array_equal(repeated[0], grey[:, :, 0])
    assert np.array_equal(repeated[0], repeated[2])
    single = ImageFrontend(8, 8, channels=1, mean=(0.0,), std=(1.0,))(colour)
    luma = np.asarray(Image.fromarray((colour * 255).round().astype(np.uint8)).convert("L")) / 255
    assert np.abs(single[0] - luma).max() <= 1.5 / 255  # Pillow rounds twice


def test_the_entry_comes_back() -> None:
    frontend = image_frontend({**ENTRY, "interpolation": "bicubic"})
    assert image_frontend(frontend.to_manifest()) == frontend


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "log-mel"}, "kind must be 'image'"),
        ({"height": 0}, "height must be a whole number from 1"),
        ({"height": True}, "height must be a whole number"),
        ({"width": 1 << 20}, "width must be a whole number"),
        ({"width": None}, "width must be a whole number"),
        ({"resize": 31}, "resize must be at least 32"),
        ({"channels": 4}, "channels must be 1 or 3"),
        ({"channels": 1}, "mean must be a finite number per channel"),
        ({"mean": [0, 0, float("nan")]}, "mean must be a finite number per channel"),
        ({"mean": [0, 0, 10**400]}, "mean must be a finite number per channel"),
        ({"std": [1, 0, 1]}, "none of them 0"),
        ({"std": [1, 1e-60, 1]}, "none of them 0"),
        ({"std": "abc"}, "none of them 0"),
        ({"interpolation": "nearest"}, "interpolation must be one of bilinear, bicubic"),
        ({"interpolation": [1]}, "interpolation must be one of"),
        ({"colour": 1}, "unknown parameter 'colour'"),
    ],
)
def test_bad_entries_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        image_frontend({**ENTRY, **change})


def test_a_missing_size_is_named() -> None:
    with pytest.raises(UsageError, match="height must be given"):
        image_frontend({"kind": "image", "width": 3})


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="must have shape"):
        image_frontend(ENTRY)(np.zeros(shape, np.float32))


def test_a_line_is_refused_not_blown_up() -> None:
    with pytest.raises(UsageError, match="too long and narrow"):
        image_frontend(ENTRY)(np.zeros((1, 20_000, 1), np.float32))


def _jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("CMYK", 3)])
def test_jpeg(mode: str, channels: int) -> None:
    image = Image.fromarray(np.full((20, 30, 3), (200, 100, 50), np.uint8)).convert(mode)
    pixels = decode(_jpeg(image))
    assert pixels.shape == (20, 30, channels)
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))[0, 0] / 255
    assert np.abs(pixels[10, 10] - expected).max() < 0.02  # it is a lossy format


def test_a_jpeg_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    assert decode(_jpeg(Image.new("RGB", (30, 20)), exif=exif)).shape == (30, 20, 3)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG"])
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="neither a PNG nor a JPEG"):
        decode(data)


def test_damaged_jpegs_are_one_line() -> None:
    good = _jpeg(Image.fromarray((255 * _image(24, 24)).astype(np.uint8)))
    for data in (good[:3], good[: len(good) // 2], b"\xff\xd8\xff" + b"x" * 100):
        with pytest.raises(ValueError, match="not a readable JPEG") as caught:
            decode(data)
        assert "\n" not in str(caught.value)


def test_a_huge_jpeg_is_refused_before_it_is_decoded() -> None:
    data = bytearray(_jpeg(Image.new("L", (8, 8))))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match=r"65535 × 65535 pixels|exceeds limit"):
        decode(bytes(data))


def test_without_pillow_png_works_and_jpeg_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _jpeg(Image.new("L", (8, 8)))
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DeviceError, match=r"pip install 'millijoule\[image\]'"):
        decode(data)
    assert decode(encode(np.zeros((2, 2, 1), int), 0, 8)).shape == (2, 2, 1)
