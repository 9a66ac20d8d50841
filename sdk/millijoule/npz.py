"""Reading and writing ``.npy`` and ``.npz`` data that nobody vouches for.

NumPy's own reader believes the header: it allocates what the header claims. Here the claimed size
must equal the bytes that follow before any array exists, and object arrays are never loaded. The
zip modules are imported at first use: starting a program does not need them.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import zipfile

__all__ = ["MAX_BYTES", "npz_bytes", "read_npy", "read_npz"]

#: Most bytes that the arrays of one file may take.
MAX_BYTES = 1 << 31

_MAX_HEADER = 1 << 16
_MAX_ARRAYS = 4096
_HEADER = re.compile(
    r"\{\s*'descr':\s*'(?P<descr>[<>|=][biuf]\d{1,2})',\s*'fortran_order':\s*(?P<order>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\d,\s]{0,200})\),?\s*\}\s*"
)


def read_npy(data: bytes | memoryview) -> np.ndarray:
    """Array stored in the bytes of one ``.npy`` file: numbers or booleans, in native byte order.

    Raises:
        ValueError: not such a file; the message is one line.
    """
    view = memoryview(data)
    if bytes(view[:6]) != b"\x93NUMPY" or len(view) < 12:
        raise ValueError("not a .npy file (its magic number is missing)")
    wide = view[6] >= 2  # versions 2 and 3 have a 32-bit header length
    start = 12 if wide else 10
    length = int.from_bytes(view[8:start], "little")
    if length > _MAX_HEADER or start + length > len(view):
        raise ValueError("the .npy header is truncated or too long")
    header = bytes(view[start : start + length]).decode("latin-1")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise ValueError("the .npy header is damaged, or its dtype is not a number or boolean")
    try:
        dtype = np.dtype(match["descr"])
    except TypeError:
        raise ValueError(f"the .npy header has an unknown dtype {match['descr']!r}") from None
    shape = _shape(match["shape"])
    body = view[start + length :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(
            f"shape {shape} of {dtype.name} needs {math.prod(shape) * dtype.itemsize} bytes,"
            f" but {len(body)} follow the header"
        )
    flat = np.frombuffer(body, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if match["order"] == "True" else "C")


def _shape(text: str) -> tuple[int, ...]:
    """``"3, 4"`` or ``"3,"`` as a shape."""
    parts = [part.strip() for part in text.split(",")]
    if parts[-1] == "":
        parts.pop()
    if len(parts) > 32 or not all(part.isdigit() and len(part) < 16 for part in parts):
        raise ValueError(f"the .npy header has a malformed shape ({text.strip()})")
    return tuple(int(part) for part in parts)


def read_npz(
    source: str | os.PathLike[str] | bytes, limit: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file (a path, or the file's bytes) by name.

    Raises:
        ValueError: damaged, too many arrays, or more than ``limit`` bytes; the message is one line.
        OSError: the path cannot be opened.
    """
    if not isinstance(source, bytes):
        with open(source, "rb") as stream:
            return _read_stream(stream, limit)
    return _read_stream(io.BytesIO(source), limit)


def _read_stream(stream: BinaryIO, limit: int) -> dict[str, np.ndarray]:
    import lzma
    import zipfile

    errors = (
        zipfile.BadZipFile,
        NotImplementedError,  # an unknown compression method
        RuntimeError,  # an encrypted member
        ValueError,
        OverflowError,
        EOFError,
        OSError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
    )
    try:
        with zipfile.ZipFile(stream) as archive:
            return _read_members(archive, limit)
    except errors as error:
        raise ValueError(f"not a readable .npz file: {error}") from error


def _read_members(archive: zipfile.ZipFile, limit: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if len(members) > _MAX_ARRAYS:
        raise ValueError(f"{len(members)} arrays; at most {_MAX_ARRAYS} are read")
    if sum(member.file_size for member in members) > limit:
        raise ValueError(f"the arrays claim more than the limit of {limit} bytes")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in arrays or name == member.filename:
            raise ValueError(f"member {member.filename!r} is a duplicate or is not a .npy file")
        with archive.open(member) as stream:
            # The directory's size is a claim too: never inflate more than it says.
            data = stream.read(member.file_size + 1)
        try:
            arrays[name] = read_npy(data)
        except ValueError as error:
            raise ValueError(f"array {name!r}: {error}") from error
    return arrays


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an uncompressed ``.npz`` file; equal arrays give equal bytes."""
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()
