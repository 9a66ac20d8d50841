"""``mj profile --device``: exact counts, the same twice, and nothing an emulator cannot know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millijoule as mj
from fixtures.devices import require
from fixtures.models import LMUFORMER, golden_bundle
from millijoule.cli import main
from millijoule.report import compare_table, profile_tables

MODEL = LMUFORMER[-1]
CORES = ("cortex-a72", "cortex-m4")
FORMS = [(), ("--streaming",)]


def profile(bundle: Path, core: str, out: Path, *options: str) -> dict[str, Any]:
    """``mj profile --device``, as JSON."""
    arguments = ["profile", str(bundle), "--device", f"qemu:{core}", "--json", str(out), "--quiet"]
    assert main([*arguments, *options]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    found = {}
    for core in CORES:
        require(f"qemu:{core}")
        for form in FORMS:
            options = ("--target", core, *form)
            found[(core, *form)] = golden_bundle(tmp_path_factory, MODEL, *options)
    return found


@pytest.mark.parametrize("form", FORMS, ids=["whole", "streaming"])
@pytest.mark.parametrize("core", CORES)
def test_counts(
    core: str, form: tuple[str, ...], bundles: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    path = bundles[(core, *form)]
    data = profile(path, core, tmp_path / "p.json")
    counts = data["instructions"]
    kernels = sum(row["instructions"] for row in counts["kernels"])
    assert kernels + counts["outside_kernels"] == pytest.approx(counts["per_call"], rel=1e-12)
    assert 0 < counts["outside_kernels"] < 0.5 * counts["per_call"]
    assert counts["min"] <= counts["per_call"] <= counts["max"]
    assert counts["total"] == round(counts["per_call"] * counts["calls"])
    for name in ("layers", "ops"):
        assert sum(row["instructions"] for row in counts[name]) == pytest.approx(kernels)
    # no multiplication without an instruction; vectors multiply up to 4 lanes with one
    multiplies = data["operations"]["totals"]["multiplies"]
    assert counts["per_call"] > multiplies / 4
    again = profile(path, core, tmp_path / "q.json")
    assert again["instructions"] == counts
    assert again["memory"] == data["memory"]


def test_labels(bundles: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    data = profile(bundles["cortex-m4",], "cortex-m4", tmp_path / "p.json")
    counts = data["instructions"]
    assert counts["status"] == "measured"
    assert counts["what"] == "retired instructions; not cycles, not time"
    assert "QEMU" in counts["source"]
    assert "cortex-m4 on mps2-an386" in counts["source"]
    for figure in (
        data["latency"],
        data["cold_start"]["total_ms"],
        data["energy"]["measured"]["energy_mj"],
    ):
        assert figure["status"] == "unavailable"
        assert "emulated device" in figure["reason"]
    assert {e["total_mj"]["status"] for e in data["energy"]["estimated"]} <= {
        "estimated",
        "unavailable",
    }
    memory = data["memory"]
    for name in ("code_bytes", "flash_bytes", "ram_bytes", "arena_bytes", "stack_bytes"):
        assert memory[name]["status"] == "measured"
        assert memory[name]["value"] > 0
    assert "peak_process_bytes" not in memory
    assert data["conditions"]["device"]["name"] == "qemu:cortex-m4"
    assert any("not cycles" in warning for warning in data["warnings"])


def test_tables_and_html(bundles: dict[tuple[str, ...], Path], tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    data = profile(bundles["cortex-a72",], "cortex-a72", tmp_path / "p.json", "--html", str(page))
    titles = [table.title for table in profile_tables(data)]
    assert titles[0].startswith("Instructions of one program call")
    assert any(title.startswith("Instructions per layer") for title in titles)
    html = page.read_text()
    assert "<h2>Instructions" in html
    assert f"{round(data['instructions']['per_call']):,}" in html
    assert "Median latency" not in html
    for text in (html, *titles):
        for place in range(len(text)):
            if text.startswith("cycles", place):
                assert text[place - 4 : place] == "not "
    compared = compare_table([data, data], ["a", "b"])
    rows = {row[0]: row[1:] for row in compared.rows}
    assert rows["median / first"] == ("unavailable", "unavailable")
    assert rows["instructions"][0].endswith("(measured)")


def test_baseline(
    bundles: dict[tuple[str, ...], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, saved = bundles["cortex-m4",], tmp_path / "p.json"
    data = profile(path, "cortex-m4", saved)
    arguments = ["profile", str(path), "--device", "qemu:cortex-m4", "--baseline", str(saved)]
    assert main(arguments) == 0
    assert "instructions per call are 1.0000× the baseline" in capsys.readouterr().out
    data["instructions"]["per_call"] *= 0.99
    saved.write_text(json.dumps(data))
    assert main([*arguments, "--max-regression", "2%"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--max-regression", "0.5%"]) == 1
    assert "instructions per call are 1.0101× the baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        *(["--stable"], ["--sustained"], ["--duration", "1"], ["--trace", "t"]),
        *(["--energy", "rapl"], ["--threads", "2"]),
    ],
    ids=lambda options: options[0],
)
def test_what_needs_a_clock_or_more_threads_is_refused(
    options: list[str],
    bundles: dict[tuple[str, ...], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["profile", str(bundles["cortex-a72",]), "--device", "qemu:cortex-a72", "--quiet"]
    assert main([*arguments, *options]) == 2
    assert options[0].removeprefix("--") in capsys.readouterr().err


def test_own_inputs_and_no_layers(bundles: dict[tuple[str, ...], Path]) -> None:
    x = np.zeros((2, *MODEL.inputs["x"].shape[1:]), np.float32)
    with mj.load(bundles["cortex-m4",], device="qemu:cortex-m4") as session:
        result = mj.profile(session, {"x": x}, layers=False)
    counts = result.to_dict()["instructions"]
    assert counts["calls"] == 2
    assert counts["min"] == counts["max"] == result.instructions
    assert counts["kernels"] == []
    assert np.isnan(result.median_ms)
