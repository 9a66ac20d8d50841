"""The comparison of bundles that tests of equal builds use says where two differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.bundles import assert_same_bytes
from fixtures.manifests import LIBRARY, WEIGHTS, small_manifest
from millijoule.bundle import write_bundle

FILES: dict[str, bytes | Path] = {LIBRARY: b"code", WEIGHTS: b"w" * 99}


def bundle(path: Path, changed: dict[str, bytes | Path]) -> Path:
    write_bundle(path, small_manifest(), FILES | changed)
    return path


def test_same_bytes(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a.mjb", {})
    assert_same_bytes(first, bundle(tmp_path / "b.mjb", {}))
    other = bundle(tmp_path / "c.mjb", {WEIGHTS: b"w" * 70 + b"v" + b"w" * 28})
    with pytest.raises(AssertionError, match=r"weights\.bin \(99 and 99 bytes, 1 of.* byte 70"):
        assert_same_bytes(first, other)
    more = bundle(tmp_path / "d.mjb", {"more.txt": b""})
    with pytest.raises(AssertionError, match=r"members \['more\.txt'\], which only one has"):
        assert_same_bytes(first, more)
