"""Machine code of kernels in the sizes of real models (BERT-base, LMUFormer, ViT): no spills."""

from __future__ import annotations

import pytest

from fixtures.conv import Case
from fixtures.gpu import compiled
from fixtures.operands import LIF_RULES, lif_attrs
from millijoule.converters.ops import TensorType
from millijoule.targets.jetson.multiprocessor import multiprocessor
from millijoule.targets.kernels import KernelForm
from millijoule.targets.kernels.conv.direct import conv2d_f32
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.gemm import GemmShape, gemm_f32
from millijoule.targets.kernels.gemm.gpu import PANEL
from millijoule.targets.kernels.gpu import GPU_KERNELS
from millijoule.targets.kernels.threads import ceil_div
from millijoule.targets.target import GPU, GPU_BIT_MMA


def real(*shape: int) -> TensorType:
    """A float32 operand."""
    return TensorType(shape, "float32")


SIGNS = [real(128, 768), TensorType((768, 768), "int8"), real(768), real(768)]
HEADS = [real(1, 128, 768)] * 3
LOW_RANK = [real(1, 128, 5), real(3)]
VOCABULARY = {
    "binary_linear": ({"activations": "sign", "ternary": False}, SIGNS),
    "binary_linear real": ({"activations": "real", "ternary": True}, SIGNS),
    "binary_attention bool": ({"rule": "bool", "heads": 12, "maps": False}, [*HEADS, real(1, 128)]),
    "binary_attention softmax": (
        {"rule": "softmax", "heads": 12, "maps": False},
        [*HEADS, *LOW_RANK, real(1, 128)],
    ),
    "binary_embedding": (
        {"ternary": False},
        [TensorType((1, 128), "int64"), TensorType((30522, 768), "int8"), real(30522)],
    ),
    "lif": (
        lif_attrs(LIF_RULES["lmuformer"]),
        [real(1, 128, 256), real(6, 256), real(1, 1, 256)],
    ),
    "spike_linear": (
        {"binary": True},
        [TensorType((1, 128, 256), "uint8"), real(256, 1024), real(1024)],
    ),
    "spike_conv": (
        {"binary": True, "padding": 1},
        [TensorType((1, 128, 256), "uint8"), real(3, 256, 256)],
    ),
    "lmu_memory": ({}, [TensorType((1, 128), "uint8"), real(128, 256)]),
}


@pytest.mark.parametrize("name", VOCABULARY)
def test_vocabulary(name: str) -> None:
    attrs, types = VOCABULARY[name]
    compiled(GPU_KERNELS[name.split()[0]](attrs, types, GPU), (87, 110))


def test_tensor_cores() -> None:
    attrs, types = VOCABULARY["binary_linear"]
    form = GPU_KERNELS["binary_linear"](attrs, types, GPU_BIT_MMA)
    for cubin in compiled(form, (80, 86, 87)):
        assert multiprocessor(cubin.sm).bit_mma
        assert all(k.occupancy(cubin.sm, 128).share > 0.4 for k in cubin.kernels.values())


def linear(rows: int, inputs: int, outputs: int) -> KernelForm:
    """A linear layer with a bias and GELU behind it."""
    steps = [Step("relax.add", 0, "column"), Step("relax.nn.gelu")]
    return gemm_f32(
        GemmShape(1, rows, inputs, outputs),
        real(1, rows, inputs),
        real(ceil_div(outputs, PANEL), inputs, PANEL),
        [real(outputs)],
        real(1, rows, outputs),
        steps,
        GPU,
    )


@pytest.mark.parametrize("shape", [(1, 768, 768), (197, 192, 768), (1024, 768, 3072)])
def test_linear(shape: tuple[int, int, int]) -> None:
    compiled(linear(*shape), (72, 87, 110))


def test_convolution() -> None:
    case = Case((56, 56), 64, 64)
    packed = real(ceil_div(64, PANEL), 9 * 64, PANEL)
    y = real(1, 56, 56, 64)
    compiled(conv2d_f32(case.shape, y, packed, [], y, [], GPU), (87, 110))
