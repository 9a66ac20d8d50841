"""Binary models on emulated cores: the authors' maps bit for bit, outputs within the tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.binary import BERTS, BINARY, SMALL_BERT, safe_tokens, save_folder
from fixtures.devices import require
from fixtures.models import Golden, golden_bundle
from millijoule.converters import convert
from millijoule.targets import build
from millijoule.verification import verify


@pytest.mark.parametrize("golden", BINARY, ids=lambda golden: golden.name)
def test_cortex_a72(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> None:
    require("qemu:cortex-a72")
    path = golden_bundle(tmp_path_factory, golden, "--target", "cortex-a72")
    with mj.load(path, device="qemu:cortex-a72") as session:
        maps = [name for name in session.taps if name.endswith("attn_map")]
        results = session.run(golden.inputs, maps)
    assert len(maps) == 2
    for name, value in results.items():
        expected = golden.outputs[name]
        if name in maps:
            np.testing.assert_array_equal(value, expected, name)
        else:
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("family", ["bibert", "bipft"])
def test_cortex_m7(family: str, tmp_path: Path) -> None:
    """A BERT small enough for a microcontroller: what torch computes, maps included."""
    require("qemu:cortex-m7")
    folder, module = save_folder(tmp_path / "m", family, "classification", SMALL_BERT)
    np.savez(folder / "inputs.npz", **safe_tokens(module, 12, rows=1, names=("input_ids",)))
    out = tmp_path / "m.mjb"
    build(convert(folder), "cortex-m7", out).close()
    with mj.load(out, device="qemu:cortex-m7") as session:
        checks = verify(session)
    assert {check.name for check in checks} == {"logits", "layer0.attn_map"}
    assert [check for check in checks if not check.passed] == []


def test_cortex_m7_runs_a_reference_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    require("qemu:cortex-m7")
    path = golden_bundle(tmp_path_factory, BERTS[0], "--target", "cortex-m7")
    with mj.load(path, device="qemu:cortex-m7") as session:
        logits = session.run(BERTS[0].inputs)["logits"]
    np.testing.assert_allclose(logits, BERTS[0].outputs["logits"], rtol=0, atol=1e-4)
