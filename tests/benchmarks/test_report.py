"""Documents, names of files, tables and charts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from mjbench import report
from mjbench.measure import Contender, Timing, ratio
from mjbench.result import CaseResult, Goal
from rich.console import Console


@pytest.fixture
def result() -> CaseResult:
    timings = {
        name: Timing(Contender(name, lambda: []), np.array([[ns, ns], [ns, ns]], np.uint64))
        for name, ns in (("ours", 1000), ("torch", 30_000))
    }
    found = ratio(timings["torch"], timings["ours"])
    return CaseResult(
        name="case",
        title="A case",
        timings=timings,
        ratios=[found],
        goals=[Goal("fast enough", found.value, 20), Goal("ms", 3, 2, at_most=True)],
        columns={"ours": {"floor µs": "0.50"}},
        extra={"shape": [1, 2]},
    )


def test_goals_look_in_their_direction() -> None:
    assert Goal("times", 20, 20).met
    assert not Goal("times", 19, 20).met
    assert Goal("ms", 2, 2, at_most=True).met
    assert not Goal("ms", 3, 2, at_most=True).met


def test_a_document_survives_json(result: CaseResult, tmp_path: Path) -> None:
    conditions = report.conditions()
    path = tmp_path / "run.json"
    report.write_json(path, report.document([result], conditions, conditions, rounds=2))
    document = json.loads(path.read_text(encoding="utf-8"))
    (case,) = document["cases"]
    assert case["shape"] == [1, 2]
    assert case["contenders"][0]["samples_ns"] == [[1000, 1000], [1000, 1000]]
    assert case["ratios"][0]["value"] == 30
    assert [goal["met"] for goal in case["goals"]] == [True, False]
    assert {"torch", "onnxruntime", "apache-tvm"} <= set(document["conditions"]["versions"])
    assert document["load_average_after"] == conditions["load_average"]


def test_tables_say_ratios_and_goals(result: CaseResult) -> None:
    text = io.StringIO()
    report.show(Console(file=text, width=120), result)
    lines = text.getvalue()
    assert "floor µs" in lines
    assert "30.00" in lines
    assert "goal fast enough ≥ 20: 30.00 met" in lines
    assert "goal ms ≤ 2: 3.00 not met" in lines


def test_a_chart_is_a_png(result: CaseResult, tmp_path: Path) -> None:
    report.write_chart(tmp_path / "chart.png", [result])
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_file_names_hold_date_and_cpu() -> None:
    conditions = {"time": "2026-01-02T03:04:05+00:00", "cpu_model": "AMD EPYC™ 9B45 (x2)"}
    assert report.file_stem(conditions) == "2026-01-02-amd-epyc-9b45-x2"
