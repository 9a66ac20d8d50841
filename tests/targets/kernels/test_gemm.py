"""Packed GEMM: shapes around tiles, convolutions, epilogues, and bits that do not depend on M."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.kernels import ISAS as HERE
from fixtures.kernels import call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.epilogue import BINARY, Step
from millijoule.targets.kernels.gemm import (
    GemmShape,
    Tile,
    choose_tile,
    gemm_f32,
    grid,
    pack_weights,
)
from millijoule.targets.kernels.gemm.grid import plan_grid
from millijoule.targets.kernels.gemm.tile import padded, row_blocks
from millijoule.targets.target import AVX2, NEON, NEON_V7, Isa

ISAS = (*HERE, NEON_V7)
by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: f"{isa.name}-{isa.registers}")

SIZES = (1, 3, 15, 16, 17, 63, 64, 65, 130)
# every size of each dimension three times, against different sizes of the others
SHAPES = [
    (m, SIZES[(i + s) % len(SIZES)], SIZES[(2 * i + 3 * s) % len(SIZES)])
    for s in (1, 4, 7)
    for i, m in enumerate(SIZES)
]


def gemm(
    x: np.ndarray,
    w: np.ndarray,
    isa: Isa,
    steps: Sequence[Step] = (),
    operands: Sequence[np.ndarray] = (),
    *,
    padding: int = 0,
    result_shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """x [B, T, K] with w [taps, K, N], through packing and the kernel."""
    batch, t, depth = (1, math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim != 3 else x.shape
    taps, _, outputs = w.shape
    shape = GemmShape(batch, t, depth, outputs, taps, padding)
    packed = pack_weights(w.reshape(taps * depth, outputs), choose_tile(shape, isa))
    result = TensorType(result_shape or (batch, shape.out_steps, outputs), "float32")
    x_type, packed_type, *extra = types_of([x, packed, *operands])
    kernel = gemm_f32(shape, x_type, packed_type, extra, result, steps, isa)
    return call(kernel, [x, packed, *operands], [result], isa)[0]


def reference(x: np.ndarray, w: np.ndarray, padding: int = 0) -> np.ndarray:
    """In float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (0, 0)))
    steps = padded.shape[1] - len(w) + 1
    return sum(padded[:, k : k + steps] @ w[k].astype(np.float64) for k in range(len(w)))


@pytest.mark.parametrize(
    ("m", "n", "k", "isa"),
    [
        pytest.param(*shape, isa, id=f"{shape}-{isa.name}-{isa.registers}")
        for i, isa in enumerate(ISAS)
        for shape in (SHAPES if isa is ISAS[0] else SHAPES[i::3])
    ],
)
def test_shapes(m: int, n: int, k: int, isa: Isa) -> None:
    x, w = normal((1, m, k)), normal((1, k, n), 3)
    np.testing.assert_allclose(gemm(x, w, isa), reference(x, w), atol=4e-6 * k**0.5)


@by_isa
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("batch", "steps", "channels", "outputs"),
    [(1, 3, 20, 16), (2, 7, 17, 65), (3, 32, 16, 1), (1, 128, 5, 130)],
)
def test_convolutions(
    batch: int, steps: int, channels: int, outputs: int, padding: int, isa: Isa
) -> None:
    x, w = normal((batch, steps, channels)), normal((3, channels, outputs), 3)
    y = gemm(x, w, isa, padding=padding)
    np.testing.assert_allclose(y, reference(x, w, padding), atol=2e-5)


def test_sequences_shorter_than_the_filter() -> None:
    x, w = normal((2, 1, 6)), normal((3, 6, 9), 3)
    np.testing.assert_allclose(gemm(x, w, AVX2, padding=1), reference(x, w, 1), atol=1e-5)


@by_isa
@pytest.mark.parametrize("taps", [1, 3])
def test_one_row_gives_the_bits_of_many(taps: int, isa: Isa) -> None:
    """A stream computes one row at a time, a sequence all of them; spikes must not depend on it."""
    x, w = normal((1, 21, 130)), normal((taps, 130, 70), 3)
    many = gemm(x, w, isa)
    for t in (0, 5, many.shape[1] - 1):
        one = gemm(x[:, t : t + taps].copy(), w, isa)
        np.testing.assert_array_equal(one[0, 0], many[0, t])


@by_isa
def test_column_blocks_in_parallel(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    for rows, outputs in ((9, 256), (9, 300), (40, 20), (59, 130)):
        x, w = normal((1, rows, 33)), normal((1, 33, outputs), 3)
        np.testing.assert_allclose(gemm(x, w, isa), reference(x, w), atol=3e-5)


@by_isa
def test_rows_in_groups(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of columns pass over groups of rows, as if the rows were too many for the cache."""
    monkeypatch.setattr(grid, "CACHE_BYTES", 33 * 80 * 4)
    for rows, outputs in ((63, 80), (50, 40)):
        x, w = normal((1, rows, 33)), normal((1, 33, outputs), 3)
        np.testing.assert_allclose(gemm(x, w, isa), reference(x, w), atol=3e-5)


def numpy_of(op: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    name = op.removeprefix("relax.")
    return getattr(np, name)(a, b)


def numpy_unary(op: str, a: np.ndarray) -> np.ndarray:
    erf = np.vectorize(math.erf)
    return {
        "relax.nn.relu": lambda v: np.maximum(v, 0),
        "relax.erf": erf,
        "relax.nn.gelu": lambda v: v / 2 * (1 + erf(v / 2**0.5)),
        "relax.nn.silu": lambda v: v / (1 + np.exp(-v)),
    }[op](a)


def operand_of(spread: str, m: int, n: int) -> np.ndarray:
    shape = {"full": (1, m, n), "column": (n,), "scalar": ()}[spread]
    return np.abs(normal(shape, 11)) + np.float32(0.5)  # away from zero: it divides, too


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("spread", ["full", "column", "scalar"])
@pytest.mark.parametrize("op", BINARY)
def test_binary_epilogues(op: str, spread: str, swapped: bool) -> None:
    m, n, k = 5, 19, 8
    x, w, other = (
        np.abs(normal((1, m, k))) + 1,
        np.abs(normal((1, k, n), 3)),
        operand_of(spread, m, n),
    )
    y = gemm(x, w, AVX2, [Step(op, 0, spread, swapped)], [other])
    product = reference(x, w)
    expected = numpy_of(op, *((other, product) if swapped else (product, other)))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@by_isa
@pytest.mark.parametrize("op", ["relax.erf", "relax.nn.gelu", "relax.nn.relu", "relax.nn.silu"])
def test_unary_epilogues(op: str, isa: Isa) -> None:
    x, w = normal((1, 6, 8)), normal((1, 8, 37), 3)
    y = gemm(x, w, isa, [Step(op)])
    np.testing.assert_allclose(y, numpy_unary(op, reference(x, w)), atol=1e-5)


@by_isa
def test_a_long_epilogue_runs_in_order(isa: Isa) -> None:
    m, n, k = 7, 35, 16
    x, w = normal((1, m, k)), normal((1, k, n), 3)
    bias, residual, gain = normal((n,), 4), normal((1, m, n), 5), np.array([[0.5]], np.float32)
    steps = [
        Step("relax.add", 0, "column"),
        Step("relax.nn.gelu"),
        Step("relax.subtract", 1, "full", swapped=True),
        Step("relax.multiply", 2, "scalar"),
        Step("relax.nn.relu"),
    ]
    y = gemm(x, w, isa, steps, [bias, residual, gain])
    expected = (residual - numpy_unary("relax.nn.gelu", reference(x, w) + bias)) * 0.5
    np.testing.assert_allclose(y, np.maximum(expected, 0), atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 10), (2, 3, 10), (3, 1, 2, 10)])
def test_operands_of_any_rank(shape: tuple[int, ...]) -> None:
    x, w = normal(shape), normal((1, 10, 17), 3)
    residual = normal((*shape[:-1], 17), 5)
    shape_of_rows = x.reshape(-1, 10)
    y = gemm(
        x if x.ndim != 3 else x.reshape(1, 2, 3, 10),
        w,
        AVX2,
        [Step("relax.add", 0, "full")],
        [residual],
        result_shape=residual.shape,
    )
    expected = (shape_of_rows @ w[0]).reshape(residual.shape) + residual
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 7, 128])
def test_neon_loads_four_channels_of_x_at_once(steps: int) -> None:
    """Its multiply-add takes one lane of a register, so that nothing is broadcast."""
    assert choose_tile(GemmShape(1, steps, 64, 64), NEON).depth == 4
    assert choose_tile(GemmShape(1, steps, 64, 64), NEON_V7).depth == 1


@given(
    k=st.integers(1, 40), n=st.integers(1, 200), width=st.integers(1, 96), rows=st.integers(1, 8)
)
def test_packing_loses_nothing(k: int, n: int, width: int, rows: int) -> None:
    w = np.arange(1, k * n + 1, dtype=np.float32).reshape(k, n)
    packed = pack_weights(w, Tile(rows, width))
    blocks, depth, columns = packed.shape
    assert depth == k
    assert columns == width
    flat = packed.transpose(1, 0, 2).reshape(k, blocks * columns)
    np.testing.assert_array_equal(flat[:, :n], w)
    assert not flat[:, n:].any()
    assert blocks * columns - n < columns


@given(
    steps=st.integers(1, 300),
    channels=st.integers(1, 300),
    outputs=st.integers(1, 1000),
    isa=st.sampled_from(ISAS),
)
def test_tiles_fit_the_registers(steps: int, channels: int, outputs: int, isa: Isa) -> None:
    tile = choose_tile(GemmShape(1, steps, channels, outputs), isa)
    accumulators = tile.rows * tile.columns // isa.lanes
    assert tile.rows >= 1
    assert tile.columns <= padded(outputs, isa.lanes)
    assert accumulators < isa.registers


@given(total=st.integers(1, 4000), most=st.integers(1, 14))
def test_rows_are_shared_evenly(total: int, most: int) -> None:
    """No more tiles than needed, and none more than a row shorter than another."""
    segments = row_blocks(total, most)
    heights = [rows for _, rows in segments]
    assert sum(count * rows for count, rows in segments) == total
    assert sum(count for count, _ in segments) == -(-total // most)
    assert max(heights) - min(heights) <= 1
    assert heights == sorted(heights, reverse=True)


@given(width=st.integers(1, 300), lanes=st.sampled_from([1, 4, 8, 16]))
def test_padding_adds_less_than_the_last_vector_holds(width: int, lanes: int) -> None:
    whole = padded(width, lanes)
    assert width <= whole < width + lanes
    assert bin(whole % lanes).count("1") <= 1


@pytest.mark.parametrize(
    ("m", "k", "n", "blocks", "tiles"),
    [
        (197, 192, 192, 3, 33),
        (197, 192, 768, 12, 33),
        (3136, 64, 64, 1, 523),
        (128, 768, 768, 12, 22),
    ],
)
def test_two_and_four_threads_get_even_shares(
    m: int, k: int, n: int, blocks: int, tiles: int
) -> None:
    work = plan_grid(GemmShape(1, m, k, n), blocks, tiles)
    assert work.parallel
    for threads in (2, 4):
        share = -(-work.blocks * work.groups // threads)
        assert share * threads <= 1.07 * work.blocks * work.groups


def test_weights_of_the_next_block_come_while_this_one_is_used() -> None:
    """Only where no cache of the core holds them, and rows enough hide their way."""
    large, isa = GemmShape(1, 128, 768, 3072), Isa("avx512", 16, 32)
    assert grid.lines_ahead(large, choose_tile(large, isa), isa) * 128 * 64 >= 768 * 64 * 4
    small = GemmShape(1, 128, 64, 128)
    assert grid.lines_ahead(small, choose_tile(small, isa), isa) == 0
    one = GemmShape(1, 1, 768, 3072)
    assert grid.lines_ahead(one, choose_tile(one, isa), isa) == 0
    assert grid.lines_ahead(large, choose_tile(large, NEON), NEON) == 0


@pytest.mark.parametrize("isa", [i for i in ISAS if i.name in ("avx512", "avx2")], ids=str)
def test_fetching_ahead_changes_nothing(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal((1, 70, 33)), normal((1, 33, 130), 3)
    without = gemm(x, w, isa)
    np.testing.assert_allclose(without, reference(x, w), atol=3e-5)
    monkeypatch.setattr(grid, "FETCHED_BYTES", 1)
    np.testing.assert_array_equal(gemm(x, w, isa), without)


def test_rows_beyond_the_cache_pass_once() -> None:
    """Groups of rows that fit in the cache meet all weights before the next group comes."""
    assert plan_grid(GemmShape(1, 3136, 256, 128), 2, 523).rows_first
    assert not plan_grid(GemmShape(1, 128, 768, 3072), 48, 22).rows_first
