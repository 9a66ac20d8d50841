"""The sweep of matrix products beside oneDNN: what counts as missed, and who is found where."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gemm_sweep
import numpy as np
import pytest
from mjbench import debian, onednn

from millijoule.errors import DeviceError


def _sweep(ours: float, theirs: float, call: float, peak: float) -> gemm_sweep.Sweep:
    count, forms = len(gemm_sweep.SHAPES), len(onednn.FORMS)
    others = np.full((forms, count + 1), 2 * theirs)
    others[1] = theirs
    others[:, -1] = call
    names = [[f"form{i}" for i in range(forms)]] * count
    library: Any = SimpleNamespace(names=names)
    return gemm_sweep.Sweep(np.full(count, ours), others, peak, library)


def test_a_row_is_the_best_form_and_both_ratios() -> None:
    row = _sweep(ours=1000, theirs=2000, call=500, peak=100).rows()[0]
    m, k, n = row["shape"]
    assert row["gflops"] == pytest.approx(2 * m * k * n / 1000)
    assert row["of_peak"] == pytest.approx(row["gflops"] / 100)
    assert (row["times_onednn"], row["times_onednn_net"]) == (2.0, 1.5)
    assert (row["onednn_form"], row["onednn_implementation"]) == (onednn.FORMS[1], "form1")


def test_goals_are_half_of_onednn_and_most_of_the_peak_for_large_shapes() -> None:
    assert gemm_sweep.missed(_sweep(1000, 501, 0, 1e-9).rows()) == []
    assert len(gemm_sweep.missed(_sweep(1000, 499, 0, 1e-9).rows())) == len(gemm_sweep.SHAPES)
    rows = [
        {"shape": shape, "times_onednn": 1.0, "of_peak": 0.84}
        for shape in ((64, 192, 192), (63, 192, 192), (64, 191, 192), (64, 192, 191))
    ]
    assert gemm_sweep.missed(rows) == ["64×192×192: 84.0% of the peak, goal 85%"]


def test_there_are_sixty_shapes_with_tails() -> None:
    assert len(set(gemm_sweep.SHAPES)) == len(gemm_sweep.SHAPES) >= 60
    assert {m for m, _, _ in gemm_sweep.SHAPES} >= {1, 3136}
    assert any(n % 16 for _, _, n in gemm_sweep.SHAPES)


def test_a_library_is_found_under_its_prefix_or_named_as_missing(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"must hold lib/libdnnl\.so, but does not"):
        onednn.installed(tmp_path)
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libdnnl.so").touch()
    found = onednn.installed(tmp_path)
    assert (found.include, found.libraries) == (tmp_path / "include", tmp_path / "lib64")


def test_a_failing_tool_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="no-such-tool is not installed"):
        debian.run(["no-such-tool"], tmp_path)
    with pytest.raises(DeviceError, match="sh ended with 3: twice"):
        debian.run(["sh", "-c", "echo once >&2; echo twice >&2; exit 3"], tmp_path)
    if shutil.which("mmdebstrap") is None:
        monkeypatch.setenv("PATH", os.defpath)
        with pytest.raises(DeviceError, match="mmdebstrap is not installed"):
            onednn.unpacked(tmp_path)
