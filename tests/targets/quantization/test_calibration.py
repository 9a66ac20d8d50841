"""Calibration inputs: where they come from, what is refused, and the scales they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fixtures.programs import model_of
from millijoule.converters.model import Model
from millijoule.converters.source import read_calibration
from millijoule.errors import ModelError, UsageError
from millijoule.npz import npz_bytes
from millijoule.targets.quantization import quantize
from millijoule.targets.quantization.calibration import choose_calibration
from millijoule.targets.quantization.ranges import SHARES, best_scale


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@pytest.fixture(scope="module")
def model() -> Model:
    return model_of(Scores(), torch.randn(1, 6, generator=torch.Generator().manual_seed(1)))


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)


def test_the_sample_is_the_last_resort(model: Model) -> None:
    chosen = choose_calibration(model, None)
    assert chosen.samples == 1
    assert "own sample" in chosen.source
    assert "--calibrate" in chosen.source


def test_given_comes_before_shipped(model: Model) -> None:
    model.calibration = {"x0": rows(3)}
    try:
        assert choose_calibration(model, None).samples == 3
        assert choose_calibration(model, {"x0": rows(5)}).samples == 5
    finally:
        model.calibration = None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "lacks 'x0'"),
        ({"x0": rows(2), "y": rows(2)}, "has 'y'"),
        ({"x0": rows(2)[:, :5]}, r"\[samples, 6\], but has \[2, 5\]"),
        ({"x0": rows(0)}, r"but has \[0, 6\]"),
        ({"x0": rows(2) * np.nan}, "finite"),
        ({"x0": np.full((2, 6), "a")}, "finite numbers"),
        ({"x0": rows(2), "labels": np.zeros(3, int)}, "2 integers"),
        ({"x0": rows(2), "labels": np.zeros(2)}, "2 integers"),
    ],
)
def test_what_does_not_fit_is_refused(model: Model, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_calibration(model, arrays)


def test_accuracy_with_labels(model: Model) -> None:
    """The record counts what it says, on several samples of a batch of one."""
    x = rows(40)
    labels = model_labels(model, x)
    labels[:10] = (labels[:10] + 1) % 4  # a quarter of them wrong
    record = quantize(model, {"x0": x, "labels": labels}).quantization
    assert record is not None
    assert record["calibration"] == {"source": "given", "samples": 40, "labelled": True}
    accuracy = record["accuracy"]
    assert accuracy["float_accuracy"] == 0.75
    assert accuracy["agreement"] >= 0.95  # two layers at 45 dB, random scores
    assert accuracy["int8_accuracy"] >= 0.70
    errors = accuracy["outputs"]["y0"]
    assert 0 < errors["rms_error"] < 0.03 * errors["rms"]
    assert errors["rms_error"] <= errors["max_error"]
    json.dumps(record, allow_nan=False)


def model_labels(model: Model, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return Scores()(torch.from_numpy(x)).argmax(1).numpy()


def test_the_float_model_stays_as_it_is(model: Model) -> None:
    before = model.module.script()
    integer = quantize(model)
    assert model.module.script() == before
    assert model.quantization is None
    assert integer.quantization is not None
    # expected outputs are those of the integer program
    assert (integer.sample_outputs["y0"] != model.sample_outputs["y0"]).any()
    np.testing.assert_allclose(
        integer.sample_outputs["y0"], model.sample_outputs["y0"], rtol=0, atol=0.05
    )


def test_scales_without_outliers_use_the_whole_range() -> None:
    x = np.linspace(-3, 3, 1001)
    assert best_scale(x) == pytest.approx(3 / 127)


def test_outliers_are_clipped_where_that_errs_less() -> None:
    x = np.random.default_rng(0).standard_normal(200_000)
    x[0] = 9.0
    scale = best_scale(x)
    assert scale * 127 in [pytest.approx(9 * share) for share in SHARES]
    assert scale * 127 < 9


def test_the_scale_of_nothing() -> None:
    assert best_scale(np.zeros(5)) == 1.0


def test_a_folder_may_ship_inputs(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    (tmp_path / "calibration.npz").write_bytes(npz_bytes({"x": rows(2)}))
    found = read_calibration(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found["x"], rows(2))
    (tmp_path / "calibration.npz").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"calibration\.npz\] cannot be read"):
        read_calibration(tmp_path)


class Bare(Scores):
    """Nothing is added between the layers: one product per value."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second((x @ self.first.weight.T).relu() * 0.5)


def test_tolerance_where_real_sums_are_rounded(model: Model) -> None:
    """A bias is added before the second layer rounds, and targets fuse that or do not."""
    exact = model_of(Bare(), torch.randn(1, 6, generator=torch.Generator().manual_seed(1)))
    assert quantize(exact).tolerance == exact.tolerance
    rounding = quantize(model)
    assert rounding.quantization is not None
    error = rounding.quantization["accuracy"]["outputs"]["y0"]["max_error"]
    assert rounding.tolerance["y0"] == pytest.approx(max(2e-5, error / 10), rel=1e-5)
