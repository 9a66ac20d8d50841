"""``mj tune`` keeps the records that beat the rule, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millijoule as mj
from fixtures.tuning import add_record, in_threads, with_workspace
from millijoule.cli import main
from millijoule.errors import UsageError
from millijoule.targets.tuning import tune as tuning
from millijoule.targets.tuning.records import TuningRecords
from millijoule.targets.tuning.tune import Function, functions_of, tune

Capture = pytest.CaptureFixture[str]


def by_hand(rewrite: Callable[[Any], None]) -> tuning.Search:
    """A search that finds one schedule for sums, none for anything else."""

    def search(
        workload: Any, target: Any, folder: Path, trials: int, seed: int, progress: Any
    ) -> None:
        if "sum" in str(workload) or "_red" in str(workload):
            add_record(folder, Function(workload, []), rewrite)
        progress(trials)

    return search


def timed(monkeypatch: pytest.MonkeyPatch, speedup: float) -> None:
    """Timing as if every kernel of the second program took 1 / ``speedup`` of the first's time."""

    def times(one: mj.Session, other: mj.Session, _: Any) -> tuple[np.ndarray, np.ndarray]:
        count = len(one.manifest.kernels)
        return np.full(count, 3000.0), np.full(len(other.manifest.kernels), 3000.0 / speedup)

    monkeypatch.setattr(tuning, "kernel_times", times)


def test_faster_records_are_kept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """… beside those of other targets; tuning again measures what is there, and drops it."""
    folder = tmp_path / "db"
    add_record(folder, functions_of(model)[0], in_threads, target="cortex-a72")
    timed(monkeypatch, 1.5)
    first, second = tune(model, "host", folder, trials=3, search_one=by_hand(in_threads))
    assert (first.kept, first.calls, first.rule_us, first.tuned_us) == (True, 1, 3.0, 2.0)
    assert second.verdict == "no trial was valid"
    assert len(TuningRecords(folder).all) == 2
    with mj.build(model, out=tmp_path / "a.mjb", tuning_db=folder) as bundle:
        assert len(bundle.manifest.toolchain["tuning"]["kernels"]) == 1

    timed(monkeypatch, 1.01)
    again, _ = tune(model, "host", folder, trials=3, search_one=lambda *_: None)
    assert (again.kept, again.verdict) == (False, "not faster, dropped")
    assert [str(r.target.attrs["mcpu"]) for r in TuningRecords(folder).all] == ["cortex-a72"]


def test_times_are_measured(model: Any, tmp_path: Path) -> None:
    """… of the kernels of real programs; a record that is no use has none."""
    first, _ = tune(model, "host", tmp_path / "db", trials=1, search_one=by_hand(in_threads))
    assert first.rule_us is not None
    assert first.tuned_us is not None
    assert 0 < first.rule_us < 1e5
    assert 0 < first.tuned_us < 1e5
    refused, _ = tune(
        model, "host", tmp_path / "other", trials=1, search_one=by_hand(with_workspace)
    )
    assert refused.tuned_us is None
    assert "parallel loop" in refused.verdict
    assert TuningRecords(tmp_path / "other").all == []


def test_command(
    source: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but MetaSchedule's search, which `test_search` runs."""
    monkeypatch.setattr(tuning, "search", by_hand(in_threads))
    folder = tmp_path / "db"
    options = ["--trials", "1", "--tuning-db", str(folder), "--json", str(tmp_path / "t.json")]
    assert main(["tune", source, *options]) == 0
    printed = capsys.readouterr()
    assert "tuning fused_multiply_sum (1 of 2)" in printed.err
    found = json.loads((tmp_path / "t.json").read_text())["functions"]
    assert [f["function"] for f in found] == ["fused_multiply_sum", "fused_tir_sigmoid_transpose"]
    assert [f["tuned_us"] is not None for f in found] == [True, False]
    kept = sum(f["kept"] for f in found)
    assert len(TuningRecords(folder).all) == kept
    assert f"{kept} of 2 functions have a record that is faster" in printed.out


def test_errors(model: Any, tmp_path: Path, capsys: Capture) -> None:
    for target in ("cortex-m4", "jetson-orin", "coreml"):
        with pytest.raises(UsageError, match="CPU with an operating system"):
            tune(model, target, tmp_path / "db")
    with pytest.raises(UsageError, match="does not run on this machine"):
        tune(model, "armv7", tmp_path / "db")
    (tmp_path / "file").write_text("")
    assert main(["tune", "no-such-model", "--tuning-db", str(tmp_path / "file")]) == 2
    assert "must be a folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match="parent does not exist"):
        tune(model, "host", tmp_path / "no" / "db")
    assert not (tmp_path / "db").exists()
