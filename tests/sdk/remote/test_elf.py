"""Code sizes of ELF files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.tiny_model.build import compile_library
from millijoule.errors import BundleError
from millijoule.remote.elf import code_bytes


def test_code_of_a_library(tmp_path: Path) -> None:
    """What `size` of the binutils calls .text and its kin."""
    library = compile_library(tmp_path / "libmodel.so")
    listing = subprocess.run(["size", "-A", library], capture_output=True, text=True, check=True)
    sizes = {
        row[0]: int(row[1])
        for line in listing.stdout.splitlines()
        if len(row := line.split()) == 3
        if row[1].isdigit()
    }
    names = (".init", ".plt", ".plt.got", ".plt.sec", ".text", ".fini")
    assert code_bytes(library.read_bytes()) == sum(sizes.get(name, 0) for name in names)


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"MZ" * 40, b"\x7fELF\x02\x01" + b"\xff" * 80, b"\x7fELF\x09\x01\x01"]
)
def test_damaged_files(data: bytes) -> None:
    with pytest.raises(BundleError, match="ELF"):
        code_bytes(data)
