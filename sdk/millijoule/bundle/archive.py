"""The zip container of a bundle: a strict subset that leaves no room for two readings.

Members are stored, never compressed, in one disk, with plain relative names, sizes known up front
and no comment. Any zip tool opens such a file; this reader refuses any other. Field layouts:
PKWARE APPNOTE 6.3, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16 (end record).
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import BundleError

__all__ = ["MAX_ARCHIVE", "Member", "check_name", "read_directory", "write_archive"]

#: The 32-bit fields of the format end here; no member and no archive may be larger.
MAX_ARCHIVE = (1 << 32) - 2

_MAX_MEMBERS = 256
_MAX_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_UTF8_FLAG = 0x800
_VERSION = 20
_DATE_1980 = 0x21  # 1 January 1980, so that equal contents give equal files
_REGULAR_FILE = (stat.S_IFREG | 0o644) << 16


@dataclass(frozen=True)
class Member:
    """One file in the archive: its bytes are ``archive[offset : offset + bytes]``."""

    name: str
    offset: int
    bytes: int
    crc: int
    header: int  # where its local header starts


def check_name(name: str) -> str:
    """``name`` itself if it is a plain relative path of letters, digits, ``_ . - /``.

    Raises:
        BundleError: absolute, climbing (``..``), hidden, empty or too long.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise BundleError(
            f"member name {name[:80]!r} must be a relative path of letters, digits, '_', '.', '-'"
        )
    return name


def read_directory(data: memoryview) -> dict[str, Member]:
    """Members of the archive in ``data`` by name, every one of them inside it and apart.

    Raises:
        BundleError: anything but the strict subset described above.
    """
    start, count = _end_record(data)
    members: dict[str, Member] = {}
    position = start
    for _ in range(count):
        member, position = _entry(data, position, len(data) - _END.size)
        if member.name in members:
            raise BundleError(f"member {member.name!r} appears twice")
        members[member.name] = member
    if position != len(data) - _END.size:
        raise BundleError("the archive's directory has trailing bytes; the file is damaged")
    _check_apart(members.values(), start)
    return members


def _end_record(data: memoryview) -> tuple[int, int]:
    """Where the directory starts and how many members it lists."""
    if len(data) < _END.size:
        raise BundleError("the file is too short to be a bundle")
    end = _END.unpack_from(data, len(data) - _END.size)
    signature, disk, first_disk, here, count, size, start, comment = end
    if signature != b"PK\5\6" or comment:
        raise BundleError("not a bundle, or a truncated one (no end record at the end of the file)")
    if disk or first_disk or here != count or count > _MAX_MEMBERS:
        raise BundleError(f"the archive must be one disk of at most {_MAX_MEMBERS} members")
    if start + size != len(data) - _END.size:
        raise BundleError("the archive's directory is not where its end record says")
    return start, count


def _entry(data: memoryview, position: int, limit: int) -> tuple[Member, int]:
    """The directory entry at ``position``, checked, and the position after it."""
    if position + _ENTRY.size > limit:
        raise BundleError("the archive's directory is truncated")
    fields = _ENTRY.unpack_from(data, position)
    signature, _, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_length, extra, comment, disk, _, attributes, header = fields[10:]
    after = position + _ENTRY.size + name_length + extra + comment
    if signature != b"PK\1\2" or after > limit:
        raise BundleError("the archive's directory is damaged")
    name = check_name(_text(data, position + _ENTRY.size, name_length))
    if method != 0 or packed != size or flags & ~_UTF8_FLAG or disk:
        raise BundleError(f"member {name!r} must be stored, not compressed or encrypted")
    if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG):
        raise BundleError(f"member {name!r} must be a regular file, not a link or a folder")
    offset = _data_offset(data, name, header, (flags, method, crc, size))
    return Member(name, offset, size, crc, header), after


def _data_offset(data: memoryview, name: str, header: int, expected: tuple[int, ...]) -> int:
    """Where the member's bytes start, if its local header says what the directory says."""
    if header + _LOCAL.size > len(data):
        raise BundleError(f"member {name!r} lies outside the file")
    local = _LOCAL.unpack_from(data, header)
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra = local
    name_start = header + _LOCAL.size
    same = (flags, method, crc, size) == expected and packed == size
    if signature != b"PK\3\4" or not same or _text(data, name_start, name_length) != name:
        raise BundleError(f"member {name!r}: its local header differs from the directory")
    return name_start + name_length + extra


def _text(data: memoryview, start: int, length: int) -> str:
    return bytes(data[start : start + length]).decode("ascii", "replace")


def _check_apart(members: Iterable[Member], limit: int) -> None:
    """No member may reach into another or into the directory."""
    position = 0
    for member in sorted(members, key=lambda member: member.header):
        if member.header < position:
            raise BundleError(f"member {member.name!r} overlaps another member")
        position = member.offset + member.bytes
        if position > limit:
            raise BundleError(f"member {member.name!r} reaches beyond the archive's data")


Chunks = Callable[[], Iterator[bytes]]


def write_archive(out: BinaryIO, members: list[tuple[str, int, Chunks]]) -> None:
    """Write ``(name, alignment, chunks)`` members in the order given.

    ``chunks()`` yields the member's bytes and is called twice (checksum, then data); ``alignment``
    is that of the first byte in the file, reached by zero bytes between members.

    Raises:
        BundleError: the archive would exceed :data:`MAX_ARCHIVE`, or a bad name.
    """
    entries, position = [], 0
    for name, alignment, chunks in members:
        encoded = check_name(name).encode("ascii")
        crc, size = _checksum(chunks())
        prefix = _LOCAL.size + len(encoded)
        gap = -(position + prefix) % alignment
        header = position + gap
        position = header + prefix + size
        if position > MAX_ARCHIVE:
            raise BundleError(f"member {name!r} takes the bundle beyond {MAX_ARCHIVE} bytes")
        common = (0, 0, 0, _DATE_1980, crc, size, size, len(encoded), 0)  # flags … extra
        out.write(bytes(gap) + _LOCAL.pack(b"PK\3\4", _VERSION, *common) + encoded)
        for chunk in chunks():
            out.write(chunk)
        version = (3 << 8) | _VERSION  # made on Unix, so that the attributes are a file mode
        entry = (b"PK\1\2", version, _VERSION, *common, 0, 0, 0, _REGULAR_FILE, header)
        entries.append(_ENTRY.pack(*entry) + encoded)
    directory = b"".join(entries)
    count = len(entries)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), position, 0)
    out.write(directory + end)


def _checksum(chunks: Iterator[bytes]) -> tuple[int, int]:
    crc = size = 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
    return crc, size
