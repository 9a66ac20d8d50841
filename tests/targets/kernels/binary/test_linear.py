"""Scheduled ``binary_linear``: exact integers for signs, every vector unit, every tail."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.bit_kernels import BINARY_ISAS, isa_name, rotated, signs
from fixtures.kernels import call, run_scheduled, types_of
from fixtures.operands import normal, with_zeros
from millijoule.converters.ops import TensorType
from millijoule.converters.ops.binary_linear import binary_linear_reference
from millijoule.targets.kernels import form
from millijoule.targets.kernels.binary.linear import BitLinear, bit_linear, emits_planes
from millijoule.targets.kernels.binary.planes import planes_of
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.target import AVX512_POPCOUNT, Isa

# rows, inputs, outputs
SHAPES = [(1, 1, 1), (15, 15, 33), (16, 63, 70), (17, 64, 32), (1, 65, 64), (2, 127, 5)]
SHAPES += [(3, 128, 31), (2, 768, 65), (3, 1100, 33)]  # more words than bytes can count
by_shape = pytest.mark.parametrize(("shape", "isa"), rotated(SHAPES))
by_isa = pytest.mark.parametrize("isa", BINARY_ISAS, ids=isa_name)


def operands(shape: tuple[int, int, int], zeros: float) -> list[np.ndarray]:
    """x, w, scale 1 and bias 0, so that results are the integers themselves."""
    rows, inputs, outputs = shape
    x, w = with_zeros((rows, inputs), 3, zeros), signs((outputs, inputs), zeros)
    return [x, w, np.ones(1, np.float32), np.zeros(outputs, np.float32)]


@by_shape
@pytest.mark.parametrize("zeros", [0.0, 0.1], ids=["binary", "ternary"])
def test_signs(shape: tuple[int, int, int], zeros: float, isa: Isa) -> None:
    arrays = operands(shape, zeros)
    if zeros:
        arrays[0][0], arrays[1][0] = 0, 0  # a row and an output of nothing but zeros
    attrs = {"activations": "sign", "ternary": bool(zeros)}
    (y,) = run_scheduled("binary_linear", attrs, arrays, isa)
    np.testing.assert_array_equal(y, binary_linear_reference(*arrays))


@by_shape
@pytest.mark.parametrize("zeros", [0.0, 0.1], ids=["binary", "ternary"])
def test_real_activations(shape: tuple[int, int, int], zeros: float, isa: Isa) -> None:
    arrays = operands(shape, zeros)
    attrs = {"activations": "real", "ternary": bool(zeros)}
    (y,) = run_scheduled("binary_linear", attrs, arrays, isa)
    expected = binary_linear_reference(*arrays, activations="real")
    # K float32 additions of about ±√K: their errors add up as a random walk
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-7 * shape[1] + 1e-6)


@by_isa
@pytest.mark.parametrize("activations", ["sign", "real"])
def test_threads_rows_and_unknown_weights(
    activations: str, isa: Isa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same bits in parallel, for one row, and if nobody said that no weight is 0."""
    x, w, _, bias = operands((9, 70, 37), 0.0)
    arrays = [x, w, normal((37,)), bias + 1]
    attrs = {"activations": activations, "ternary": False}
    (serial,) = run_scheduled("binary_linear", attrs, arrays, isa)
    (one,) = run_scheduled("binary_linear", attrs, [x[4:5], *arrays[1:]], isa)
    np.testing.assert_array_equal(one, serial[4:5])
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    (parallel,) = run_scheduled("binary_linear", attrs, arrays, isa)
    np.testing.assert_array_equal(parallel, serial)
    monkeypatch.undo()
    (unknown,) = run_scheduled("binary_linear", {"activations": activations}, arrays, isa)
    np.testing.assert_allclose(unknown, serial, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "isa", [i for i in BINARY_ISAS if emits_planes(BitLinear(5, 65, 72), i)], ids=isa_name
)
def test_planes_in_and_out(isa: Isa) -> None:
    """Planes come from and leave to other layers, behind an epilogue of two steps."""
    x, w, scale, bias = operands((5, 65, 72), 0.1)
    residual = normal((5, 72))
    steps = (Step("relax.add", 0), Step("relax.nn.relu"))
    expected = np.maximum(binary_linear_reference(x, w, scale, bias) + residual, 0)
    packed = planes_of(x)
    results = [TensorType((5, 72), "float32"), TensorType((5, 2, 3), "uint32")]
    for emits in (("floats", "planes"), ("planes",)):
        layer = BitLinear(5, 65, 72, steps=steps, packed=True, emits=emits)
        types = types_of([packed, scale, bias, residual])
        built = bit_linear(layer, types[0], types[1:], results[-len(emits) :], isa)
        outputs = call(built, [packed, w, scale, bias, residual], results[-len(emits) :], isa)
        np.testing.assert_array_equal(outputs[-1], planes_of(expected))
        if len(emits) == 2:
            np.testing.assert_array_equal(outputs[0], expected)


def test_results_never_depend_on_wide_strides() -> None:
    """The widest layer of BERT-base: 3,072 outputs."""
    isa = BINARY_ISAS[0]
    assert isa is AVX512_POPCOUNT or not isa.popcount
    arrays = operands((8, 768, 3072), 0.0)
    (y,) = run_scheduled("binary_linear", {"activations": "sign", "ternary": False}, arrays, isa)
    np.testing.assert_array_equal(y, binary_linear_reference(*arrays))
