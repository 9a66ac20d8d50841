"""Depthwise and finely grouped convolution, against the equation."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.conv import Case
from fixtures.kernels import ISAS as HERE
from fixtures.kernels import call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.conv import window
from millijoule.targets.kernels.conv.depthwise import depthwise_f32, pack_depthwise, takes
from millijoule.targets.kernels.conv.direct import chunks
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.target import AVX2, AVX512, NEON, NEON_V7, SCALAR, Isa

ISAS = (*HERE, NEON_V7)
NONE = (0, 0, 0, 0)


def grouped(case: Case, width: int) -> Case:
    """``case`` with as many outputs as channels, in groups of ``width``."""
    return Case(**{**vars(case), "outputs": case.channels, "groups": case.channels // width})


DEPTHWISE = [
    grouped(case, 1)
    for case in (
        Case((1, 1), 1, 0),
        Case((5, 30), 17, 0, batch=2),
        Case((7, 7), 64, 0),
        Case((9, 15), 15, 0, stride=(2, 2)),
        Case((8, 33), 16, 0, stride=(2, 1), padding=(0, 1, 1, 0)),
        Case((11, 12), 5, 0, kernel=(7, 7), padding=(3, 3, 3, 3)),
        Case((9, 20), 33, 0, kernel=(5, 3), padding=(4, 2, 4, 2), dilation=(2, 2)),
        Case((3, 3), 4, 0, padding=(4, 4, 4, 4)),  # some results see only the border
        Case((6, 6), 16, 0, kernel=(1, 1), padding=NONE),
        Case((6, 7), 8, 0, kernel=(2, 2), stride=(2, 2), padding=NONE),
    )
]
FINE = [
    grouped(Case((5, 17), 16, 0), 2),
    grouped(Case((6, 9), 24, 0, stride=(2, 2)), 4),
    grouped(Case((4, 5), 20, 0, batch=2), 4),
    grouped(Case((5, 6), 24, 0), 8),
]


def convolve(case: Case, isa: Isa) -> np.ndarray:
    shape, bias = case.shape, normal((case.outputs,), 4)
    packed = pack_depthwise(case.filters)
    result = TensorType((case.batch, shape.rows.out, shape.columns.out, case.outputs), "float32")
    x_type, packed_type, *extra = types_of([case.x, packed, bias])
    kernel = depthwise_f32(
        shape, x_type, packed_type, extra, result, [Step("relax.add", 0, "column")], isa
    )
    return call(kernel, [case.x, packed, bias], [result], isa)[0]


@pytest.mark.parametrize(
    ("case", "isa"),
    [
        pytest.param(case, isa, id=f"{number}-{isa.name}-{isa.registers}")
        for i, isa in enumerate(ISAS)
        for number, case in enumerate([*DEPTHWISE, *FINE])
        if takes(case.shape, isa) and (i < 2 or number % 3 == i % 3)
    ],
)
def test_cases(case: Case, isa: Isa) -> None:
    expected = case.reference() + normal((case.outputs,), 4)
    np.testing.assert_allclose(convolve(case, isa), expected, atol=4e-6 * case.shape.depth**0.5)


def test_rows_in_parallel_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = convolve(DEPTHWISE[1], AVX2)
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    np.testing.assert_array_equal(convolve(DEPTHWISE[1], AVX2), whole)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("number", [1, 4])
def test_chunks_of_rows_give_the_same_bits(
    number: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that end inside of an image, and in the middle of a batch."""
    case = DEPTHWISE[number]
    whole = convolve(case, AVX2)
    row = 4 * (case.shape.columns.size + case.shape.columns.out) * case.channels
    monkeypatch.setattr(chunks, "CHUNK_BYTES", rows * row)
    monkeypatch.setattr(window, "by_channels", lambda *_: True)
    np.testing.assert_array_equal(convolve(case, AVX2), whole)


@pytest.mark.skipif(AVX512 not in HERE, reason="asked for with AVX-512 alone")
def test_channels_asked_for_ahead_change_no_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    case = DEPTHWISE[2]
    whole = convolve(case, AVX512)
    monkeypatch.setattr(window, "WAYS", 0)  # nothing fits in the cache
    np.testing.assert_array_equal(convolve(case, AVX512), whole)


@pytest.mark.parametrize(
    ("size", "channels", "stride", "expected"),
    [
        (112, 48, 2, True),
        (56, 48, 1, True),
        (56, 16, 1, False),  # whole rows fit
        (28, 128, 1, False),  # pixels fall into eight sets of the cache
        (14, 256, 1, False),
    ],
)
def test_which_images_go_channel_by_channel(
    size: int, channels: int, stride: int, expected: bool
) -> None:
    case = grouped(Case((size, size), channels, 0, stride=(stride, stride)), 1)
    assert window.by_channels(case.shape, AVX512) is expected


@pytest.mark.parametrize(
    ("width", "isa", "expected"),
    [
        (1, SCALAR, True),
        (4, SCALAR, False),
        (4, NEON, False),  # one group per vector: the direct form broadcasts from memory
        (4, AVX2, True),
        (8, AVX512, True),
        (3, AVX512, False),
        (32, AVX512, False),
    ],
)
def test_which_groups_it_takes(width: int, isa: Isa, expected: bool) -> None:
    assert takes(grouped(Case((4, 4), 96, 0), width).shape, isa) is expected
