"""What reports say of a quantization, whatever the manifest holds."""

from __future__ import annotations

from typing import Any

from millijoule.report.accuracy import accuracy_table, quantized_layers
from millijoule.report.html import render

RECORD: dict[str, Any] = {
    "scheme": "int8-weights",
    "calibration": {"source": "given", "samples": 33, "labelled": True},
    "accuracy": {
        "agreement": 0.97,
        "float_accuracy": 0.951,
        "int8_accuracy": 0.947,
        "outputs": {"logits": {"max_error": 0.25, "rms_error": 0.0521, "rms": 2.5}},
    },
    "layers": [
        {"layer": "conv", "op": "conv1d", "sqnr_db": 43.16, "input_scale": 0.02},
        {"layer": "head", "op": "spike_linear", "sqnr_db": None, "input_scale": None},
    ],
    "float_layers": ["readout"],
    "fraction_bits": {"lif": 14},
}


def test_rows() -> None:
    rows = dict(accuracy_table(RECORD).rows)
    assert rows == {
        "formats": "int8-weights",
        "calibration": "33 samples, labelled: given",
        "same decision as float": "97.0 %",
        "accuracy in float": "95.1 %",
        "accuracy in int8": "94.7 %",
        "error of logits": "rms 0.0521, largest 0.25, of values of rms 2.5",
        "layers left in float": "readout",
        "potentials of lif": "14 fraction bits",
    }


def test_layers() -> None:
    assert quantized_layers(RECORD).rows == (
        ("conv", "conv1d", "43.16 dB", "0.02"),
        ("head", "spike_linear", "exact", "spikes"),
    )


def test_a_record_of_other_kinds_is_left_out() -> None:
    """The manifest vouches for the scheme only."""
    broken = {"accuracy": [1], "calibration": 3, "layers": {"a": 1}, "float_layers": "x"}
    assert accuracy_table({"scheme": "s", **broken}).rows == (("formats", "s"),)
    assert quantized_layers({"scheme": "s", **broken}).rows == ()
    odd = {"accuracy": {"agreement": True, "outputs": {"y": 3, "z": {"rms": "much"}}}}
    assert accuracy_table({"scheme": "s", **odd}).rows == (("formats", "s"),)


def test_html(profile: dict[str, Any]) -> None:
    assert "Quantization" not in render([profile])
    profile["bundle"]["quantization"] = RECORD | {"scheme": "<b>bold</b>"}
    text = render([profile])
    assert "int8 against float" in text
    assert "94.7 %" in text
    assert "43.16 dB" in text
    assert "<b>bold" not in text


def test_profiles_of_older_versions(profile: dict[str, Any]) -> None:
    profile["bundle"].pop("quantization")
    assert "Quantization" not in render([profile])
