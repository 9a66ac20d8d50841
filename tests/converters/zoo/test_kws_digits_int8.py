"""kws-digits in int8: small enough for a microcontroller, and it still knows its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.shared import shared
from millijoule.cli import main
from millijoule.converters.source import ZOO, read_calibration
from millijoule.converters.zoo.kws_digits.evaluate import bundle_predictor, recognize, recordings

FOLDER = ZOO / "kws_digits"
FLASH, RAM = 256 << 10, 64 << 10  # of the microcontrollers that it is meant for


def bundle(factory: pytest.TempPathFactory, *options: str) -> Path:
    def build(path: Path) -> None:
        assert main(["build", "kws-digits", "-o", str(path), "--quiet", *options]) == 0

    return shared(factory, "".join(["kws", *options]) + ".mjb", build)


def test_the_calibration_clips() -> None:
    arrays = read_calibration(FOLDER)
    assert arrays is not None
    assert (FOLDER / "calibration.npz").stat().st_size <= 300_000
    assert arrays["x"].shape[1:] == (98, 40)
    assert arrays["x"].dtype == np.float16
    # equally many of every class, so that no class decides the scale
    assert set(np.bincount(arrays["labels"], minlength=11)) == {len(arrays["x"]) // 11}


def test_it_fits_a_microcontroller(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Weights leave a quarter of the flash to code, the arena three quarters of the RAM."""
    options = ("--dtype", "int8", "--streaming", "--target", "cortex-m4")
    with mj.Bundle.open(bundle(tmp_path_factory, *options)) as opened:
        manifest = opened.manifest
    record = manifest.quantization
    assert record is not None
    assert record["calibration"]["source"] == "shipped with the model"
    assert record["float_layers"] == []
    assert manifest.files[manifest.program.weights].bytes <= FLASH * 3 // 4
    assert manifest.arena.bytes <= RAM // 4
    assert not {k.op for k in manifest.kernels} & {"lif", "lmu_step"}


@pytest.mark.parametrize("form", [(), ("--streaming",)], ids=["whole", "streaming"])
def test_it_knows_its_words(
    form: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of the shipped recordings int8 may know one fewer: 8 % of decisions change, either way."""
    found = {}
    for dtype in ("float32", "int8"):
        predict, frontend = bundle_predictor(bundle(tmp_path_factory, "--dtype", dtype, *form))
        found[dtype] = sum(r.right for r in recognize(predict, frontend, recordings()))
    assert found["int8"] >= found["float32"] - 1


def test_verify(tmp_path_factory: pytest.TempPathFactory) -> None:
    for form in ((), ("--streaming",)):
        path = bundle(tmp_path_factory, "--dtype", "int8", *form)
        assert main(["verify", str(path), "--quiet"]) == 0
