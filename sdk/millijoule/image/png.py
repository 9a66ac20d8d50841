"""PNG files (ISO/IEC 15948): every colour type, bit depth and interlacing of the standard.

A file is a signature and chunks ``<length> <type> <data> <crc>``. The data of all IDAT chunks is
one zlib stream of scan lines, each led by the number of its filter (`filters`). No size that a
file states is believed unchecked.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .filters import unfilter

__all__ = ["MAX_PIXELS", "SIGNATURE", "read_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Largest image that is read: 33 million pixels, 400 MB as float32.
MAX_PIXELS = 1 << 25

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}
# Adam7: first row, first column, step between rows, step between columns of each pass
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def channels(self) -> int:
        return _CHANNELS[self.colour]

    def row_bytes(self, width: int) -> int:
        return (width * self.channels * self.depth + 7) // 8

    def passes(self) -> Iterator[tuple[slice, slice, int, int]]:
        """Rows and columns of the image that each pass fills, and how many those are."""
        for y, x, down, right in _PASSES if self.interlaced else ((0, 0, 1, 1),):
            height, width = -(-(self.height - y) // down), -(-(self.width - x) // right)
            if height > 0 and width > 0:
                yield slice(y, None, down), slice(x, None, right), height, width


def read_png(data: bytes) -> np.ndarray:
    """Pixels, float32 [height, width, 1 or 3] in 0…1; transparency is dropped.

    Raises:
        ValueError: not such a file, a damaged one, or more than `MAX_PIXELS`; one line.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG file (no PNG signature)")
    header: _Header | None = None
    palette: bytes | None = None
    packed: list[bytes] = []
    for kind, content in _chunks(data):
        if header is None and kind != b"IHDR":
            raise ValueError("its first chunk is not a header")
        if kind == b"IHDR":
            header = _header(content)
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IDAT":
            packed.append(content)
        elif kind == b"IEND":
            break
        elif not kind[0] & 32:
            raise ValueError(f"unknown critical chunk {kind!r}")
    if header is None or not packed:
        raise ValueError("no image in it (no IDAT chunk)")
    samples = _samples(_inflate(b"".join(packed), header), header)
    return _colours(samples, header, palette)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise ValueError("truncated in the middle of a chunk")
        size, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + size
        if end + 4 > len(data):
            raise ValueError(
                f"truncated: chunk {kind!r} says {size} bytes, {len(data) - position - 12} left"
            )
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(data[position + 4 : end]) != checksum:
            raise ValueError(f"damaged: the checksum of chunk {kind!r} is wrong")
        yield kind, data[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4
    raise ValueError("truncated: no end chunk")


def _header(content: bytes) -> _Header:
    if len(content) != 13:
        raise ValueError("its header has the wrong size")
    width, height, depth, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", content)
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlace > 1:
        raise ValueError(f"colour type {colour} with {depth} bits is not one of the standard")
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31 or width * height > MAX_PIXELS:
        raise ValueError(f"{width} × {height} pixels; at most {MAX_PIXELS} are read")
    return _Header(width, height, depth, colour, bool(interlace))


def _inflate(packed: bytes, header: _Header) -> bytes:
    """The filtered scan lines; never more bytes than the header promises."""
    wanted = sum(rows * (1 + header.row_bytes(width)) for *_, rows, width in header.passes())
    stream = zlib.decompressobj()
    try:
        lines = stream.decompress(packed, wanted)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if len(lines) != wanted:
        raise ValueError(f"truncated: {len(lines)} of {wanted} bytes of pixels")
    return lines


def _samples(lines: bytes, header: _Header) -> np.ndarray:
    """Unfiltered samples [height, width, channels], uint8 or uint16."""
    dtype = np.uint16 if header.depth == 16 else np.uint8
    image = np.empty((header.height, header.width, header.channels), dtype)
    start = 0
    for rows, columns, height, width in header.passes():
        size = height * (1 + header.row_bytes(width))
        raw = _unfilter(lines[start : start + size], height, header, width)
        image[rows, columns] = _unpack(raw, header, width)
        start += size
    return image


def _unfilter(lines: bytes, height: int, header: _Header, width: int) -> np.ndarray:
    """Bytes [height, row_bytes] with the filters taken off."""
    rows = np.frombuffer(lines, np.uint8).reshape(height, 1 + header.row_bytes(width))
    return unfilter(rows[:, 0], rows[:, 1:], max(1, header.channels * header.depth // 8))


def _unpack(raw: np.ndarray, header: _Header, width: int) -> np.ndarray:
    """Samples [height, width, channels] from packed bytes."""
    height = raw.shape[0]
    if header.depth == 16:
        return raw.view(">u2").reshape(height, width, header.channels)
    if header.depth < 8:
        per_byte = 8 // header.depth
        shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * header.depth
        values = (raw[:, :, None] >> shifts.astype(np.uint8)) & ((1 << header.depth) - 1)
        return values.reshape(height, -1)[:, :width, None]
    return raw.reshape(height, width, header.channels)


def _colours(samples: np.ndarray, header: _Header, palette: bytes | None) -> np.ndarray:
    """float32 in 0…1 without transparency."""
    if header.colour == _PALETTE:
        if palette is None or not palette or len(palette) % 3:
            raise ValueError("its palette is missing or damaged")
        table = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        if int(samples.max()) >= len(table):
            raise ValueError(f"damaged: a pixel names a colour beyond the {len(table)} there are")
        return (table[samples[:, :, 0]] / np.float32(255)).astype(np.float32)
    if header.colour in (_GREY_ALPHA, _RGBA):
        samples = samples[:, :, :-1]
    return (samples / np.float32((1 << header.depth) - 1)).astype(np.float32)
