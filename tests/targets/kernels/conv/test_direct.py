"""Direct convolution: strides, padding, dilation, groups, tails, batches, against the equation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fixtures.conv import Case
from fixtures.kernels import ISAS as HERE
from fixtures.kernels import call, types_of
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.conv import direct
from millijoule.targets.kernels.conv.direct import (
    ahead,
    choose_tile,
    chunks,
    conv2d_f32,
    pack_filters,
)
from millijoule.targets.kernels.conv.shape import Axis
from millijoule.targets.kernels.conv.tiles import cut
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.target import AVX2, NEON_V7, Isa

ISAS = (*HERE, NEON_V7)
NONE = (0, 0, 0, 0)

CASES = [
    Case((1, 1), 1, 1),
    Case((5, 9), 3, 16),
    Case((9, 15), 16, 17),
    Case((6, 30), 17, 65),
    Case((4, 45), 5, 33, batch=2),
    Case((7, 7), 63, 64),
    Case((6, 5), 17, 33, batch=2, stride=(1, 2)),  # several rows in a tile
    Case((5, 7), 64, 160),  # asks for weights ahead
    Case((11, 13), 3, 64, kernel=(7, 7), stride=(2, 2), padding=(3, 3, 3, 3)),
    Case((8, 10), 6, 20, kernel=(1, 5), padding=(0, 2, 0, 2)),
    Case((8, 10), 6, 20, kernel=(5, 1), padding=(2, 0, 2, 0)),
    Case((9, 8), 8, 15, kernel=(2, 2), stride=(2, 2), padding=NONE),
    Case((9, 9), 4, 5, kernel=(2, 4), padding=(0, 1, 1, 2)),
    Case((12, 11), 7, 9, stride=(3, 2), padding=(2, 0, 0, 2)),
    Case((10, 33), 5, 16, dilation=(2, 3), padding=(2, 3, 2, 3)),
    Case((4, 4), 3, 8, dilation=(3, 3), padding=(3, 3, 3, 3)),  # some taps see only the border
    Case((3, 3), 2, 3, padding=(4, 4, 4, 4)),  # some results see only the border
    Case((7, 8), 17, 16, kernel=(1, 1), padding=NONE),
    Case((7, 9), 16, 65, kernel=(1, 1), padding=NONE, batch=2),
    Case((9, 9), 64, 48, kernel=(1, 1), stride=(2, 2), padding=NONE),
    Case((6, 6), 64, 64, groups=2),
    Case((5, 16), 12, 18, groups=3, batch=2),
    Case((6, 5), 30, 15, groups=15),
    Case((5, 6), 8, 8, kernel=(1, 1), padding=NONE, groups=4),
    Case((8, 65), 3, 20, kernel=(4, 4), stride=(4, 4), padding=NONE),  # patches
    Case((5, 60), 3, 33, kernel=(3, 5), stride=(2, 2), padding=(1, 2, 1, 2)),
    Case((7, 7), 65, 160, kernel=(1, 1), padding=NONE),  # tiles of 13 pixels and of 10
    Case((3, 57), 9, 16),  # tall tiles of one vector
]


def convolve(
    case: Case,
    isa: Isa,
    steps: Sequence[Step] = (),
    operands: Sequence[np.ndarray] = (),
    planar: bool = False,
) -> np.ndarray:
    shape = case.shape
    x = np.ascontiguousarray(case.x.transpose(0, 3, 1, 2)) if planar else case.x
    packed = pack_filters(case.filters, shape, choose_tile(shape, isa))
    result = TensorType((case.batch, shape.rows.out, shape.columns.out, case.outputs), "float32")
    x_type, packed_type, *extra = types_of([x, packed, *operands])
    kernel = conv2d_f32(shape, x_type, packed_type, extra, result, steps, isa, planar=planar)
    return call(kernel, [x, packed, *operands], [result], isa)[0]


@pytest.mark.parametrize(
    ("case", "isa"),
    [
        pytest.param(case, isa, id=f"{number}-{isa.name}-{isa.registers}")
        for i, isa in enumerate(ISAS)
        for number, case in enumerate(CASES)
        if i < 2 or number % 3 == i % 3  # every case on two units, every third on the others
    ],
)
def test_cases(case: Case, isa: Isa) -> None:
    # a sum of n float32 products of unit variance errs by about √n roundings
    tolerance = 4e-6 * case.shape.depth**0.5
    np.testing.assert_allclose(convolve(case, isa), case.reference(), atol=tolerance)


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: f"{isa.name}-{isa.registers}")
def test_epilogue(isa: Isa) -> None:
    case = Case((5, 17), 8, 19)
    steps, operands, expected = case.with_tail()
    got = convolve(case, isa, steps, operands)
    np.testing.assert_allclose(got, expected, atol=3e-5)


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: f"{isa.name}-{isa.registers}")
@pytest.mark.parametrize("number", [1, 8, 14, 24, 25])
def test_images_as_they_come_give_the_same_bits(number: int, isa: Isa) -> None:
    np.testing.assert_array_equal(
        convolve(CASES[number], isa, planar=True), convolve(CASES[number], isa)
    )


@pytest.mark.parametrize("case", [CASES[i] for i in (2, 4, 6, 18, 20, 26)], ids=str)
def test_bits_do_not_depend_on_jobs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and many, chunks of one row and of all: each result is the same chain."""
    whole = convolve(case, AVX2)
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    monkeypatch.setattr(ahead, "LEAST_BYTES", 0)
    for chunk in (1, 1 << 30):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", chunk)
        np.testing.assert_array_equal(convolve(case, AVX2), whole)


AVX512 = Isa("avx512", 16, 32)


@pytest.mark.parametrize("channels", [(32, 16), (96, 160), (512, 512)], ids=str)
def test_weights_of_the_next_block_come_while_this_one_is_used(channels: tuple[int, int]) -> None:
    """All of a block, asked for by the tiles it is used for; none where that does not pay."""
    shape = Case((7, 7), *channels, kernel=(1, 1), padding=NONE).shape
    for tiles in (1, 3, 14, 32):
        got = ahead.elements_ahead(shape, 32, tiles, AVX512)
        assert got * tiles >= 32 if channels[0] * channels[1] > 8192 else got == 0
    assert ahead.elements_ahead(shape, 32, 10_000, AVX512) == 0
    assert ahead.elements_ahead(shape, 32, 14, NEON_V7) == 0


def test_a_few_pixels_more_do_not_read_weights_once_more() -> None:
    """49 pixels are one pass over the blocks: tiles of 13, and the last of 10."""
    case = Case((7, 7), 64, 96, kernel=(1, 1), padding=NONE)
    shape, tile = case.shape, choose_tile(case.shape, AVX512)
    ((part, first),) = direct._parts(shape, tile)
    assert first == 0
    assert [(run.size, run.count) for run in cut(part.columns, tile.pixels)] == [(13, 3), (10, 1)]


@pytest.mark.parametrize("most", [1, 4, 14])
@pytest.mark.parametrize("size", [1, 13, 14, 15, 56, 57])
@pytest.mark.parametrize("border", [0, 1, 5])
def test_tiles_cover_a_row_once(size: int, most: int, border: int) -> None:
    axis = Axis(size, 2 * border + 1, 1, 1, border, border)
    covered = [
        run.start + t * run.size + i
        for run in cut(axis, most)
        for t in range(run.count)
        for i in range(run.size)
    ]
    assert covered == list(range(axis.out))
    for run in cut(axis, most):
        assert run.size <= most
        ends = (run.start, run.start + run.size * run.count - 1)
        assert run.count == 1 or all(axis.inside(p) for p in ends)
