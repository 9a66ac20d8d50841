"""Products for GPUs: linear layers, convolutions, computed matrices, signs; every tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.bit_kernels import signs
from fixtures.conv import Case
from fixtures.gpu import SMS, Call, call_of, check
from fixtures.kernels import types_of
from fixtures.operands import int8, normal, rescale_operands, with_zeros
from millijoule.converters.ops import TensorType
from millijoule.converters.ops.binary_linear import binary_linear_reference
from millijoule.converters.ops.quantize.reference import quantize_reference
from millijoule.converters.ops.rescale.reference import rescale_reference
from millijoule.targets.kernels.attention.shape import Strided
from millijoule.targets.kernels.conv.depthwise import depthwise_f32, pack_depthwise
from millijoule.targets.kernels.conv.direct import choose_tile as choose_conv_tile
from millijoule.targets.kernels.conv.direct import conv2d_f32, pack_filters
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.gemm import GemmShape, choose_tile, gemm_f32, pack_weights
from millijoule.targets.kernels.gemm.batched import batched_f32
from millijoule.targets.kernels.gemm.gpu import ProductShape, product_tile
from millijoule.targets.kernels.gemm_s8 import gemm_s8
from millijoule.targets.target import GPU

# sums of at most 300 products of standard normals in float32, against float64
SUM = 1e-4
NONE = (0, 0, 0, 0)


def linear(rows: int, inputs: int, outputs: int, *, taps: int = 1, padding: int = 0) -> Call:
    """A linear layer or convolution along time with a bias and ReLU behind it."""
    batch = 1 if taps == 1 else 2
    x, w, bias = normal((batch, rows, inputs)), normal((taps, inputs, outputs)), normal((outputs,))
    shape = GemmShape(batch, rows, inputs, outputs, taps, padding)
    packed = pack_weights(w.reshape(taps * inputs, outputs), choose_tile(shape, GPU))
    steps = [Step("relax.add", 0, "column"), Step("relax.nn.relu")]
    wide = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (0, 0)))
    y = sum(wide[:, tap : tap + shape.out_steps] @ w[tap] for tap in range(taps))
    y = np.maximum(y + bias, 0).astype(np.float32)
    x_type, packed_type, bias_type = types_of([x, packed, bias])
    (result,) = types_of([y])
    form = gemm_f32(shape, x_type, packed_type, [bias_type], result, steps, GPU)
    return Call(form, [x, packed, bias], [y], SUM)


@pytest.mark.parametrize(
    ("shape", "size", "sums"),
    [((1, 8, 768, 64), 64, 8), ((1, 197, 192, 64), 32, 2), ((1, 400, 400, 64), 64, 4)]
    + [((1, 640, 840, 64), 128, 8)],
)
def test_tiles(shape: tuple[int, int, int, int], size: int, sums: int) -> None:
    tile = product_tile(ProductShape(*shape))
    assert (tile.width, tile.rows) == (size, sums)


def test_linear(tmp_path: Path) -> None:
    shapes = [(1, 1, 1), (7, 15, 65), (9, 16, 31), (33, 70, 64), (400, 20, 385), (641, 17, 840)]
    check(tmp_path, {"x".join(map(str, s)): linear(*s) for s in shapes})


def test_convolution_along_time(tmp_path: Path) -> None:
    calls = {f"padding-{p}": linear(20, 17, 65, taps=3, padding=p) for p in (0, 1)}
    check(tmp_path, calls, SMS)


CONVOLUTIONS = {
    "planes": Case((11, 13), 3, 64, kernel=(7, 7), stride=(2, 2), padding=(3, 3, 3, 3)),
    "stride": Case((12, 11), 7, 9, stride=(3, 2), padding=(2, 0, 0, 2)),
    "groups": Case((5, 16), 12, 18, groups=3, batch=2),
    "pointwise": Case((7, 9), 16, 65, kernel=(1, 1), padding=NONE, batch=2),
    "border": Case((3, 3), 2, 3, padding=(4, 4, 4, 4), dilation=(2, 1)),
}


def convolution(case: Case, *, planar: bool) -> Call:
    """A convolution of images; ``planar``: as they come, [B, C, H, W]."""
    packed = pack_filters(case.filters, case.shape, choose_conv_tile(case.shape, GPU))
    x = np.ascontiguousarray(case.x.transpose(0, 3, 1, 2)) if planar else case.x
    y = case.reference()
    result = TensorType(y.shape, "float32")
    form = conv2d_f32(case.shape, *types_of([x, packed]), [], result, [], GPU, planar=planar)
    return Call(form, [x, packed], [y], SUM, [result])


def depthwise(case: Case) -> Call:
    """A depthwise convolution."""
    packed, y = pack_depthwise(case.filters), case.reference()
    result = TensorType(y.shape, "float32")
    form = depthwise_f32(case.shape, *types_of([case.x, packed]), [], result, [], GPU)
    return Call(form, [case.x, packed], [y], SUM, [result])


def test_convolutions(tmp_path: Path) -> None:
    calls = {n: convolution(c, planar=n == "planes") for n, c in CONVOLUTIONS.items()}
    calls["depthwise"] = depthwise(Case((7, 9), 17, 17, groups=17, stride=(2, 1), batch=2))
    check(tmp_path, calls)


def test_computed_matrices(tmp_path: Path) -> None:
    """Queries by keys, whose rows lie side by side, and maps by values."""
    m, n, k = 33, 40, 20
    x, w = normal((2, 3, m, k)), normal((2, 3, n, k), 5)
    views = [Strided(0, 0, (3 * m * k, m * k, k, 1)), Strided(1, 0, (3 * n * k, n * k, 1, k))]
    y_view = Strided(0, 0, (3 * m * n, m * n, n, 1))
    types = types_of([x.ravel(), w.ravel()])
    form = batched_f32((2, 3), (m, n, k), views, y_view, types, GPU)
    y = (x @ w.swapaxes(-1, -2)).ravel()
    check(tmp_path, {"keys": Call(form, [x.ravel(), w.ravel()], [y], SUM)}, SMS)


def test_signs_of_real_activations(tmp_path: Path) -> None:
    calls = {}
    for rows, inputs, outputs, zeros in ((1, 70, 65, 0.0), (40, 300, 130, 0.1)):
        x, w = with_zeros((rows, inputs), 3, zeros), signs((outputs, inputs), zeros)
        arrays = [x, w, normal((outputs,), 5), normal((outputs,), 6)]
        attrs = {"activations": "real", "ternary": bool(zeros)}
        expected = binary_linear_reference(*arrays, activations="real")
        calls[f"rows-{rows}"] = call_of("binary_linear", attrs, arrays, expected, SUM)
    check(tmp_path, calls)


def test_bytes(tmp_path: Path) -> None:
    """int8 products are exact integers, also of a convolution along time."""
    calls = {}
    for rows, taps, padding in ((1, 1, 0), (33, 1, 0), (20, 3, 1)):
        batch = 1 if taps == 1 else 2
        x, w = int8((batch, rows, 70), 3), int8((taps, 70, 65))
        shape = GemmShape(batch, rows, 70, 65, taps, padding)
        packed = pack_weights(w.reshape(-1, 65), choose_tile(shape, GPU))
        wide = np.pad(x.astype(np.int32), ((0, 0), (padding, padding), (0, 0)))
        y = sum(
            wide[:, tap : tap + shape.out_steps] @ w[tap].astype(np.int32) for tap in range(taps)
        )
        (result,) = types_of([y])
        form = gemm_s8(shape, *types_of([x, packed]), [], result, [], GPU)
        calls[f"rows-{rows}"] = Call(form, [x, packed], [y])
    x, multiplier, offset = rescale_operands((3, 5, 17), 12)
    expected = rescale_reference(x, multiplier, offset, 12)
    calls["rescale"] = call_of("rescale", {"right": 12}, [x, multiplier, offset], expected)
    values = normal((3, 130)) * 40
    expected = quantize_reference(values, 0.5)
    calls["quantize"] = call_of("quantize", {"scale": 0.5}, [values], expected)
    check(tmp_path, calls)
