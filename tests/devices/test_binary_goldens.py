"""The authors' networks on emulated cores: maps exact, down to a microcontroller."""

from __future__ import annotations

import pytest

from fixtures.binary import BERTS
from fixtures.devices import require
from fixtures.models import Golden, golden_bundle
from millijoule.cli import main

CASES = [("cortex-m7", BERTS[0]), ("cortex-a72", BERTS[2])]


@pytest.mark.parametrize(("core", "golden"), CASES, ids=[core for core, _ in CASES])
def test_verify(core: str, golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    require(f"qemu:{core}")
    path = golden_bundle(tmp_path_factory, golden, "--target", core)
    assert main(["verify", str(path), "--device", f"qemu:{core}", "--quiet"]) == 0
