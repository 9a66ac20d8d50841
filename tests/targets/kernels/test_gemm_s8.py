"""Packed int8 GEMM: exact sums over tails, convolutions, and epilogues in float32 and int32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fixtures.gemm_s8 import gemm_s8_call, gemm_s8_reference
from fixtures.kernels import ISAS as HERE
from fixtures.kernels import call
from fixtures.operands import int8, normal
from millijoule.targets.kernels import form
from millijoule.targets.kernels.epilogue import ASTYPE, Step
from millijoule.targets.kernels.gemm_s8.smlad import SmladUnit
from millijoule.targets.target import AVX2_VNNI, AVX512_POPCOUNT, MVE, Isa, get_target

# MVE's products are instructions: tests/devices. A host with VNNI has it in both widths.
VNNI = [AVX512_POPCOUNT, AVX2_VNNI] if get_target("host").isa.int8 == "vnni" else []
ISAS = [*(isa for isa in HERE if isa is not MVE), *VNNI]
by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: f"{isa.name}-{isa.int8}")
FLOAT = Step(ASTYPE, dtype="float32")


def gemm(
    x: np.ndarray,
    w: np.ndarray,
    isa: Isa,
    steps: Sequence[Step] = (),
    operands: Sequence[np.ndarray] = (),
    padding: int = 0,
) -> np.ndarray:
    kernel, arrays, results = gemm_s8_call(x, w, isa, steps, operands, padding)
    return call(kernel, arrays, results, isa)[0]


@by_isa
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 1, 1), (1, 2, 15), (3, 3, 16), (2, 15, 17), (5, 64, 63), (1, 65, 130), (17, 33, 65)],
)
def test_shapes(m: int, k: int, n: int, isa: Isa) -> None:
    x, w = int8((1, m, k), 3), int8((1, k, n))
    x[0, 0], w[0, :, 0] = -127, 127  # the largest sums there are
    x[0, -1] = -128  # not a value that is quantized to, but a byte
    np.testing.assert_array_equal(gemm(x, w, isa), gemm_s8_reference(x, w))


@by_isa
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("batch", "steps", "channels", "outputs"), [(1, 3, 20, 16), (2, 7, 17, 65), (3, 9, 16, 1)]
)
def test_convolutions(
    batch: int, steps: int, channels: int, outputs: int, padding: int, isa: Isa
) -> None:
    x, w = int8((batch, steps, channels), 3), int8((3, channels, outputs))
    y = gemm(x, w, isa, padding=padding)
    np.testing.assert_array_equal(y, gemm_s8_reference(x, w, padding))


@by_isa
def test_epilogues(isa: Isa) -> None:
    x, w = int8((2, 3, 40), 3), int8((1, 40, 37))
    exact = gemm_s8_reference(x, w)
    bias = np.arange(37, dtype=np.int32) * 100
    steps = [Step("relax.add", 0, "column")]
    np.testing.assert_array_equal(gemm(x, w, isa, steps, [bias]), exact + bias)
    scale, full = normal((37,)), normal(exact.shape)
    steps = [
        FLOAT,
        Step("relax.multiply", 0, "column"),
        Step("relax.add", 1),
        Step("relax.nn.relu"),
    ]
    y = gemm(x, w, isa, steps, [scale, full])
    np.testing.assert_allclose(y, np.maximum(exact * scale + full, 0), rtol=1e-6, atol=1e-3)


@by_isa
def test_blocks_in_parallel(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    x, w = int8((1, 3, 30), 3), int8((1, 30, 300))
    np.testing.assert_array_equal(gemm(x, w, isa), gemm_s8_reference(x, w))


def test_two_columns_share_a_halfword_exactly() -> None:
    w = np.array([[-127, 127], [127, -127], [-127, -127], [127, 127]], np.int8)
    words = SmladUnit().pack(w)
    halves = words.view(np.int16).astype(np.int32)  # inputs 0, 2, 1, 3
    np.testing.assert_array_equal(halves, (256 * w[:, 1].astype(np.int32) + w[:, 0])[[0, 2, 1, 3]])
    with pytest.raises(ValueError, match="-127"):
        SmladUnit().pack(np.full((4, 2), -128, np.int8))
