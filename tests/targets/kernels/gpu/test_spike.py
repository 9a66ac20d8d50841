"""``spike_linear`` and ``spike_conv`` for GPUs: tails of masks and blocks, counts, integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fixtures.gpu import SMS, Call, call_of, check
from fixtures.operands import int8, normal, spikes
from millijoule.converters.ops.spike_conv import spike_conv_reference
from millijoule.converters.ops.spike_linear import spike_linear_reference

# sums of at most 600 float32 of size 1, in another order than NumPy's
SUM = 1e-4


def _linear(inputs: int, outputs: int, *, binary: bool) -> Call:
    s = spikes((2, 3, inputs), binary=binary)
    s[0, 0], s[1, 2] = 0, 1  # no spikes at all, and all inputs active
    w, bias = normal((inputs, outputs)), normal((outputs,), 9)
    expected = spike_linear_reference(s, w, bias)
    return call_of("spike_linear", {"binary": binary}, [s, w, bias], expected, SUM)


def test_linear(tmp_path: Path) -> None:
    shapes = [(1, 1), (15, 65), (31, 63), (32, 64), (33, 255), (64, 256), (65, 257), (130, 600)]
    calls = {f"{k}-{o}": _linear(k, o, binary=True) for k, o in shapes}
    check(tmp_path, calls | {"counts": _linear(70, 130, binary=False)})


def test_conv(tmp_path: Path) -> None:
    calls = {}
    for channels, outputs, padding, binary in (
        (1, 1, 1, True),
        (17, 65, 0, True),
        (32, 9, 1, False),
    ):
        s, w = spikes((2, 6, channels), binary=binary), normal((3, channels, outputs))
        attrs = {"binary": binary, "padding": padding}
        expected = spike_conv_reference(s, w, padding)
        calls[f"{channels}-{padding}"] = call_of("spike_conv", attrs, [s, w], expected, SUM)
    check(tmp_path, calls, SMS)


def test_integers(tmp_path: Path) -> None:
    s, w = spikes((2, 6, 40)), int8((3, 40, 65))
    conv = call_of("spike_conv", {"binary": True, "padding": 1}, [s, w], _wide_conv(s, w))
    w, bias = int8((40, 65)), int8((65,), 5).astype("int32")
    expected = spike_linear_reference(s, w, bias)
    linear = call_of("spike_linear", {"binary": True}, [s, w, bias], expected)
    check(tmp_path, {"conv": conv, "linear": linear})


def _wide_conv(s: np.ndarray, w: np.ndarray) -> np.ndarray:
    return spike_conv_reference(s, w.astype("int32"), 1)
