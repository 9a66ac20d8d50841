"""Tables of every peer's milliseconds, out of slices of a long run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peers_table
import pytest


def _document(model: str, times: dict[str, float], threads: int, **left: str) -> dict[str, Any]:
    label = f"{threads} thread{'s' * (threads > 1)}"
    rows = [
        {"name": f"{model}, {peer}, {label}", "threads": threads, "median_us": 1e3 * ms}
        for peer, ms in times.items()
    ]
    missing = [{"model": model, "contender": n, "reason": r} for n, r in left.items()]
    return {"cases": [{"name": "models", "contenders": rows, "left_out": missing}]}


SLICES = [
    _document("vit-tiny", {"ours": 10, "OpenVINO": 11.25, "ncnn": 130}, 1, litert="no such op"),
    _document("vit-tiny", {"ours": 9, "OpenVINO": 9.9}, 1),
    _document("vit-tiny", {"ours": 5, "ncnn": 4}, 2),
    {"cases": [{"name": "kernels"}]},
]


def test_the_last_document_with_a_model_counts() -> None:
    times = peers_table.collect(SLICES)
    assert times == {
        ("vit-tiny", 1): {"ours": 9.0, "OpenVINO": 9.9},
        ("vit-tiny", 2): {"ours": 5.0, "ncnn": 4.0},
    }


def test_tables_show_the_best_peer_and_who_is_missing() -> None:
    lines = peers_table.table(peers_table.collect(SLICES[:1]), 1).splitlines()
    cells = dict(zip(lines[0].split(" | "), lines[2].split(" | "), strict=True))
    assert cells["ours"] == "10.0"
    assert cells["OpenVINO"] == "**11.2**"
    assert cells["ncnn"] == "130"
    assert cells["LiteRT XNNPACK"] == "–"
    assert lines[2].endswith("| 1.12 |")


def test_the_tool_merges_draws_and_says_who_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for index, document in enumerate(SLICES):
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(json.dumps(document))
    out, chart = tmp_path / "all.json", tmp_path / "all.png"
    assert peers_table.main([*map(str, files), "--json", str(out), "--chart", str(chart)]) == 0
    said = capsys.readouterr().out
    assert "left out: vit-tiny, litert: no such op" in said
    assert "2 threads, ms" in said
    assert len(json.loads(out.read_text())["slices"]) == len(SLICES)
    assert chart.read_bytes().startswith(b"\x89PNG")
