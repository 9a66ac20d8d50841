"""The keyword-spotting example: model → package → firmware → a word, in QEMU."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from fixtures.devices import require
from fixtures.firmware import configure, package, run_command, run_example
from fixtures.logmel import RECORDINGS

CORES = ("cortex-m4", "cortex-m7")
FRAME_BUDGET = 1_500_000  # instructions for 10 ms of audio, front end included
RECORDING = {path.stem: path for path in RECORDINGS}


@pytest.fixture
def spotter(core: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 model's package for a core."""
    require(f"qemu:{core}")
    options = ("--streaming", "--dtype", "int8", "--target", core)
    return package(tmp_path_factory, f"kws-{core}", "kws-digits", *options)


def numbers(text: str) -> list[int]:
    """All numbers of a line, thousands separated by commas."""
    return [int(word.replace(",", "")) for word in re.findall(r"\d[\d,]*", text)]


@pytest.mark.parametrize("core", CORES)
def test_recording_is_recognised_within_the_budgets(
    core: str, spotter: Path, tmp_path: Path
) -> None:
    configure("kws_cortex_m", spotter, tmp_path)  # flash 256 KB, RAM 64 KB: more does not link
    first, second = run_example(tmp_path), run_example(tmp_path)
    assert first.returncode == 0, first.stdout
    lines = [line for line in first.stdout.splitlines() if "instructions a frame" in line]
    assert lines == [line for line in second.stdout.splitlines() if "instructions a frame" in line]
    (front_mean, front_most), (model_mean, model_most) = map(numbers, lines)
    assert 15_000 < front_mean <= front_most < 40_000
    assert 10_000 < model_mean <= model_most
    assert front_most + model_most < FRAME_BUDGET
    assert re.search(r"^seven \d", first.stdout, re.MULTILINE)
    stack = re.search(r"^stack: +(.*) of (.*) bytes$", first.stdout, re.MULTILINE)
    assert stack
    assert numbers(stack[1]) < numbers(stack[2])


@pytest.mark.parametrize("core", CORES[:1])
def test_any_recording_and_a_wrong_keyword(core: str, spotter: Path, tmp_path: Path) -> None:
    for name in ("zero", "three"):
        out = tmp_path / name
        chosen = (f"-DRECORDING={RECORDING[name]}", f"-DKEYWORD={name}", "-DROUNDS=2")
        configure("kws_cortex_m", spotter, out, *chosen)
        done = run_example(out)
        assert done.returncode == 0, done.stdout
        words = re.findall(rf"^{name} (.*) %$", done.stdout, re.MULTILINE)
        assert len(words) == 2
        assert words[0] == words[1]  # nothing is left over from the first decision
    configure("kws_cortex_m", spotter, tmp_path / "zero", "-DKEYWORD=one")
    done = run_example(tmp_path / "zero")
    assert done.returncode != 0
    assert "expected keyword: one" in done.stdout


@pytest.mark.parametrize("core", CORES[:1])
def test_part_that_is_too_small(core: str, spotter: Path, tmp_path: Path) -> None:
    configure("kws_cortex_m", spotter, tmp_path, "-DFLASH=64K")
    done = run_example(tmp_path)
    assert done.returncode != 0
    assert "region `FLASH' overflowed" in done.stdout
    configure("kws_cortex_m", spotter, tmp_path, "-DFLASH=512K", "-DROUNDS=0")
    run_command("cmake", "--build", tmp_path)  # a product's form, which never ends


@pytest.mark.parametrize("core", CORES[:1])
def test_python_without_millijoule(core: str, spotter: Path, tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(AssertionError, match=r"\[kws\]\s+\S+\s+has\s+no\s+millijoule"):
        configure("kws_cortex_m", spotter, tmp_path / "out", f"-DPython3_EXECUTABLE={bare}")
