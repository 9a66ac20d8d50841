"""Scheduled ``spike_linear`` and ``spike_conv`` against their references."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import TAILS, int8, normal, spikes
from millijoule.converters.ops.spike_conv import spike_conv_reference
from millijoule.converters.ops.spike_linear import spike_linear_reference
from millijoule.targets.kernels import form
from millijoule.targets.target import Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
by_kind = pytest.mark.parametrize("binary", [True, False], ids=["binary", "counts"])

SHAPES = [(1, 1), *((k, TAILS[-1 - i]) for i, k in enumerate(TAILS)), (130, 257), (65, 300)]
SHAPES += [(257, 40), (600, 33)]  # more inputs than 16-bit sums hold
# every shape for the host's own unit, a third of them for each of the others
by_shape = pytest.mark.parametrize(
    ("inputs", "outputs", "isa"),
    [
        pytest.param(*shape, isa, id=f"{shape[0]}-{shape[1]}-{isa.name}")
        for i, isa in enumerate(ISAS)
        for shape in (SHAPES if i == 0 else SHAPES[i % 3 :: 3])
    ],
)


@by_shape
@by_kind
def test_spike_linear(inputs: int, outputs: int, binary: bool, isa: Isa) -> None:
    s = spikes((2, 5, inputs), binary=binary)
    s[0, 0], s[1, 4] = 0, 1  # no events at all, and all inputs active
    w, bias = normal((inputs, outputs)), normal((outputs,), 9)
    (y,) = run_scheduled("spike_linear", {"binary": binary}, [s, w, bias], isa)
    np.testing.assert_array_equal(y[0, 0], bias)
    np.testing.assert_allclose(y, spike_linear_reference(s, w, bias), atol=1e-4)


@by_isa
@by_kind
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (16, 17), (17, 65), (65, 257)])
def test_spike_conv(channels: int, outputs: int, padding: int, binary: bool, isa: Isa) -> None:
    s, w = spikes((2, 6, channels), binary=binary), normal((3, channels, outputs))
    s[1, :, -1] = 1  # the last input of a row is where a list could overflow
    attrs = {"binary": binary, "padding": padding}
    (y,) = run_scheduled("spike_conv", attrs, [s, w], isa)
    np.testing.assert_allclose(y, spike_conv_reference(s, w, padding), atol=1e-4)


@by_isa
@by_kind
@pytest.mark.parametrize("steps", [1, 15, 17, 40])
def test_rows_in_parallel_chunks(
    steps: int, binary: bool, isa: Isa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    s, w, bias = spikes((1, steps, 20), binary=binary), normal((20, 33)), normal((33,), 9)
    (y,) = run_scheduled("spike_linear", {"binary": binary}, [s, w, bias], isa)
    np.testing.assert_allclose(y, spike_linear_reference(s, w, bias), atol=1e-4)
    w = normal((3, 20, 33))
    (y,) = run_scheduled("spike_conv", {"binary": binary, "padding": 1}, [s, w], isa)
    np.testing.assert_allclose(y, spike_conv_reference(s, w, 1), atol=1e-4)


@by_isa
@by_kind
def test_a_stream_gives_the_bits_of_the_sequence(binary: bool, isa: Isa) -> None:
    steps, channels, outputs = 7, 65, 37
    s, w = spikes((1, steps, channels), binary=binary), normal((3, channels, outputs))
    (whole,) = run_scheduled("spike_conv", {"binary": binary, "padding": 1}, [s, w], isa)
    # all windows as rows of one batch: every row is a call of its own to the kernel
    padded = np.pad(s[0], ((1, 1), (0, 0)))
    windows = np.stack([padded[t : t + 3] for t in range(steps)])
    (stepped,) = run_scheduled("spike_conv", {"binary": binary, "padding": 0}, [windows, w], isa)
    np.testing.assert_array_equal(stepped[:, 0], whole[0])
    (single,) = run_scheduled(
        "spike_conv", {"binary": binary, "padding": 0}, [windows[3:4].copy(), w], isa
    )
    np.testing.assert_array_equal(single[0, 0], whole[0, 3])

    w, bias = normal((channels, outputs)), normal((outputs,), 9)
    (whole,) = run_scheduled("spike_linear", {"binary": binary}, [s, w, bias], isa)
    (single,) = run_scheduled("spike_linear", {"binary": binary}, [s[:, 3:4].copy(), w, bias], isa)
    np.testing.assert_array_equal(single[0, 0], whole[0, 3])


@by_shape
@by_kind
def test_int8_linear(inputs: int, outputs: int, binary: bool, isa: Isa) -> None:
    s = spikes((2, 5, inputs), binary=binary)
    w = int8((inputs, outputs))
    s[0, 0], s[1, 4] = 0, 1  # no events at all, and all inputs active
    w[:, 0] = -128  # the farthest from zero that 16-bit sums can get
    bias = np.arange(outputs, dtype=np.int32) * 70000 - 100000
    (y,) = run_scheduled("spike_linear", {"binary": binary}, [s, w, bias], isa)
    np.testing.assert_array_equal(y, spike_linear_reference(s, w, bias))


@by_isa
@by_kind
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (16, 17), (17, 65), (65, 257), (96, 8)])
def test_int8_conv(channels: int, outputs: int, padding: int, binary: bool, isa: Isa) -> None:
    s, w = spikes((2, 6, channels), binary=binary), int8((3, channels, outputs))
    s[1, :, -1], s[1, 2:5] = 1, 1
    attrs = {"binary": binary, "padding": padding}
    (y,) = run_scheduled("spike_conv", attrs, [s, w], isa)
    np.testing.assert_array_equal(y, spike_conv_reference(s, w, padding))
