"""How much machine code an ELF file holds."""

from __future__ import annotations

import struct

from ..errors import BundleError

__all__ = ["code_bytes"]

_ALLOC, _EXECUTABLE = 0x2, 0x4  # SHF_ALLOC, SHF_EXECINSTR

# Fields of file and section headers in the System V ABI, chapter 4, for 32 and 64 bits: format and
# offset of e_shoff, of e_shentsize with e_shnum, of sh_flags, of sh_size.
_FORMS = {
    1: ("<I", 32, "<HH", 46, "<I", 8, "<I", 20),
    2: ("<Q", 40, "<HH", 58, "<Q", 8, "<Q", 32),
}


def code_bytes(data: bytes) -> int:
    """Bytes of all executable sections.

    Raises:
        BundleError: no little-endian ELF file, or a damaged one.
    """
    try:
        if data[:4] != b"\x7fELF" or data[5] != 1:
            raise BundleError("the program is not a little-endian ELF file; rebuild the bundle")
        table, table_at, count, count_at, flags, flags_at, size, size_at = _FORMS[data[4]]
        start = struct.unpack_from(table, data, table_at)[0]
        entry, sections = struct.unpack_from(count, data, count_at)
        total = 0
        for header in range(start, start + entry * sections, max(entry, 1)):
            bits = struct.unpack_from(flags, data, header + flags_at)[0]
            if bits & _ALLOC and bits & _EXECUTABLE:
                total += struct.unpack_from(size, data, header + size_at)[0]
    except (IndexError, KeyError, OverflowError, struct.error):
        raise BundleError("the program is a damaged ELF file; rebuild the bundle") from None
    return total
