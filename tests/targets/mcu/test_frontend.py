"""The constants that a model's front end is generated as."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from fixtures.logmel import FRONTEND, features_of
from millijoule.errors import UnsupportedError, UsageError
from millijoule.targets.mcu.frontend import frontend_source


def numbers(source: str, name: str) -> np.ndarray:
    """The values of a table."""
    found = re.search(rf" {name}\[(\d+)\] = \{{(.*?)\}}", source, re.DOTALL)
    assert found
    values = np.array([float(word.rstrip("f")) for word in found[2].split(",")])
    assert values.size == int(found[1])
    return values


def test_tables_are_the_analysis_rounded_once() -> None:
    features = features_of(FRONTEND)
    source = frontend_source(FRONTEND)["frontend.c"]
    bands = features.bands
    np.testing.assert_array_equal(numbers(source, "first"), bands.first)
    np.testing.assert_array_equal(numbers(source, "start"), bands.start)
    weight = numbers(source, "weight").astype(np.float32)
    np.testing.assert_array_equal(weight, bands.weight.astype(np.float32))
    hann = numbers(source, "hann").astype(np.float32)
    np.testing.assert_array_equal(hann, (features.hann / 65_536).astype(np.float32))
    roots = numbers(source, "roots").reshape(-1, 2)
    angle = 2 * np.pi * np.arange(384) / 512
    np.testing.assert_allclose(roots, np.stack([np.cos(angle), -np.sin(angle)], 1), atol=6e-8)


def test_header_names_the_sizes_that_firmware_needs() -> None:
    header = frontend_source(FRONTEND)["frontend.h"]
    found = dict(re.findall(r"#define MJ_FRONTEND_(\w+) (\d+)", header))
    assert found == {
        "SAMPLE_RATE": "16000",
        "WINDOW": "400",
        "SHIFT": "160",
        "FFT": "512",
        "RING": "1024",
        "MELS": "40",
        "FRAMES": "98",
    }


def test_same_entry_same_text() -> None:
    assert frontend_source(FRONTEND) == frontend_source(dict(FRONTEND))


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({**FRONTEND, "kind": "mfcc"}, UsageError, "kind must be 'log-mel'"),
        ({**FRONTEND, "fft": 16_384}, UnsupportedError, "fft must be 16 to 8192 .* but is 16384"),
    ],
)
def test_refusals(entry: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        frontend_source(entry)
