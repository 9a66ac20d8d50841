"""PNG: every kind of the standard against its samples and against Pillow; damage is one line."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fixtures.png import CHANNELS, SIGNATURE, chunk, encode, header
from millijoule.image.png import MAX_PIXELS, read_png

KINDS = [
    (colour, depth)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}.items()
    for depth in depths
]


def _samples(colour: int, depth: int, height: int = 11, width: int = 13) -> np.ndarray:
    rng = np.random.default_rng(colour * 100 + depth)
    return rng.integers(0, 1 << depth, (height, width, CHANNELS[colour]))


def _wanted(samples: np.ndarray, colour: int, depth: int) -> np.ndarray:
    visible = samples[:, :, :-1] if colour in (4, 6) else samples
    return visible / ((1 << depth) - 1)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_colour_type_and_depth(colour: int, depth: int, interlaced: bool) -> None:
    samples = _samples(colour, depth)
    image = read_png(encode(samples, colour, depth, (0, 1, 2, 3, 4), interlaced=interlaced))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, _wanted(samples, colour, depth), rtol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes(depth: int) -> None:
    samples = _samples(3, depth)
    table = np.random.default_rng(0).integers(0, 256, (1 << depth, 3), dtype=np.uint8)
    image = read_png(encode(samples, 3, depth, (2,), table.tobytes()))
    np.testing.assert_allclose(image, table[samples[:, :, 0]] / 255, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (4, 4), (5, 3)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_sizes_at_which_passes_are_empty(height: int, width: int, interlaced: bool) -> None:
    samples = _samples(2, 8, height, width)
    image = read_png(encode(samples, 2, 8, (4, 1), interlaced=interlaced))
    np.testing.assert_allclose(image, samples / 255, rtol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_what_pillow_writes(mode: str) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50) * 3).astype(np.uint8)  # all filters pay off
    rgba = np.dstack([smooth, smooth.T.repeat(1, 0)[:40, :40].repeat(2, 1)[:, :50], smooth, smooth])
    original = Image.fromarray(rgba)
    if mode == "I;16":
        original = Image.fromarray(smooth.astype(np.uint16) * 257)
    else:
        original = original.convert("RGB").quantize(31) if mode == "P" else original.convert(mode)
    stream = io.BytesIO()
    original.save(stream, "PNG")
    image = read_png(stream.getvalue())
    if mode == "I;16":
        np.testing.assert_allclose(image[:, :, 0], smooth / 255, rtol=1e-6)
    else:
        shown = np.asarray(original.convert("RGB" if image.shape[2] == 3 else "L")) / 255
        np.testing.assert_allclose(image.squeeze(), shown.squeeze(), rtol=1e-6)


GOOD = encode(np.zeros((2, 2, 1), int), 0, 8)


def _file(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


DAMAGED = {
    "no signature": (b"GIF89a", "no PNG signature"),
    "empty": (SIGNATURE, "truncated: no end chunk"),
    "in a chunk": (GOOD[:-20], "truncated"),
    "no end": (GOOD[:-12], "truncated: no end chunk"),
    "length": (SIGNATURE + b"\xff\xff\xff\xffIHDR" + b"\0" * 9, "says 4294967295 bytes"),
    "checksum": (GOOD[:20] + b"\x01" + GOOD[21:], "checksum of chunk b'IHDR' is wrong"),
    "first chunk": (_file(chunk(b"IDAT", b"")), "first chunk is not a header"),
    "header size": (_file(chunk(b"IHDR", b"123")), "header has the wrong size"),
    "colour type": (_file(header(1, 1, 8, 5)), "colour type 5 with 8 bits"),
    "depth": (_file(header(1, 1, 4, 2)), "colour type 2 with 4 bits"),
    "interlace": (_file(header(1, 1, 8, 0, 2)), "is not one of the standard"),
    "no image": (_file(header(1, 1, 8, 0)), "no image in it"),
    "no pixels": (_file(header(0, 5, 8, 0)), "0 × 5 pixels"),
    "huge": (_file(header(1 << 30, 1 << 30, 16, 6)), f"at most {MAX_PIXELS} are read"),
    "critical": (_file(header(1, 1, 8, 0), chunk(b"ABCD", b"")), "unknown critical chunk b'ABCD'"),
    "not zlib": (_file(header(1, 1, 8, 0), chunk(b"IDAT", b"abcdef")), "damaged: Error"),
    "too few": (
        _file(header(9, 9, 8, 0), chunk(b"IDAT", zlib.compress(b"\0" * 50))),
        "50 of 90 bytes of pixels",
    ),
    "filter": (
        _file(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\5\0"))),
        "scan line 0 has filter 5",
    ),
    "no palette": (
        _file(header(1, 1, 8, 3), chunk(b"IDAT", zlib.compress(b"\0\0"))),
        "palette is missing",
    ),
    "palette": (
        _file(header(1, 1, 8, 3), chunk(b"PLTE", b"rgb"), chunk(b"IDAT", zlib.compress(b"\0\1"))),
        "names a colour beyond the 1",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_named_in_one_line(what: str) -> None:
    data, message = DAMAGED[what]
    with pytest.raises(ValueError, match=message) as caught:
        read_png(data)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_inflated() -> None:
    """A stream of a gigabyte behind a header of one pixel stops at that pixel."""
    packed = zlib.compressobj(9)
    block = b"\0" * (1 << 20)
    bomb = b"".join(packed.compress(block) for _ in range(64)) + packed.flush()
    image = read_png(_file(header(1, 1, 8, 0), chunk(b"IDAT", bomb)))
    assert image.shape == (1, 1, 1)


def test_random_bytes_never_do_more_than_raise() -> None:
    rng = np.random.default_rng(0)
    good = bytearray(encode(_samples(6, 8), 6, 8, (0, 1, 2, 3, 4), interlaced=True))
    for _ in range(300):
        bad = bytearray(good)
        for position in rng.integers(0, len(bad), 3):
            bad[position] = rng.integers(0, 256)
        for data in (bytes(bad), _mended(bad)):
            assert "\n" not in _complaint(data)


def _complaint(data: bytes) -> str:
    try:
        read_png(data)
    except ValueError as error:
        return str(error)
    return ""


def _mended(data: bytearray) -> bytes:
    """The same with right checksums, so that damage gets further."""
    position = 8
    while position + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        end = position + 8 + size
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(data)
