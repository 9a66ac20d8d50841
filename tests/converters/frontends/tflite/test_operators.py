"""Operators of TensorFlow Lite, one by one, against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from fixtures.tflite_graphs import Case, case, check

RNG = np.random.default_rng(0)
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
RELU, RELU6 = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6


def f32(*shape: int) -> np.ndarray:
    """Normal numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def i32(*values: int) -> np.ndarray:
    """A vector of integers."""
    return np.array(values, np.int32)


POSITIVE = np.abs(f32(3, 5)) + 1

POINTWISE: dict[str, Case] = {
    **{
        op: case(op, "v")
        for op in ("ABS", "NEG", "EXP", "SIN", "COS", "TANH", "LOGISTIC", "RELU", "RELU6",
                   "RELU_N1_TO_1", "FLOOR", "CEIL", "ROUND", "ELU", "HARD_SWISH", "SQUARE")
    },
    **{op: case(op, POSITIVE) for op in ("SQRT", "RSQRT", "LOG")},
    "ADD": case("ADD", "v", "w", table="Add"),
    "ADD_relu": case("ADD", "v", f32(5), table="Add", fusedActivationFunction=RELU),
    "SUB": case("SUB", "v", "w", table="Sub"),
    "MUL": case("MUL", "v", f32(3, 1), table="Mul", fusedActivationFunction=RELU6),
    "DIV": case("DIV", "v", POSITIVE, table="Div"),
    "POW": case("POW", POSITIVE, "v"),
    "MAXIMUM": case("MAXIMUM", "v", "w"),
    "MINIMUM": case("MINIMUM", "v", "w"),
    "SQUARED_DIFFERENCE": case("SQUARED_DIFFERENCE", "v", "w"),
    "FLOOR_DIV": case("FLOOR_DIV", "v", POSITIVE),
    "LEAKY_RELU": case("LEAKY_RELU", "v", table="LeakyRelu", alpha=0.2),
    "PRELU": case("PRELU", "v", f32(5)),
    "GELU": case("GELU", "v", table="Gelu"),
    "GELU_tanh": case("GELU", "v", table="Gelu", approximate=True),
    "SOFTMAX": case("SOFTMAX", "v", table="Softmax", beta=1.0),
    "LOG_SOFTMAX": case("LOG_SOFTMAX", "v", table="LogSoftmax"),
    "SELECT": case("SELECT_V2", RNG.integers(0, 2, (3, 5)).astype(bool), "v", "w"),
    "L2_NORMALIZATION": case("L2_NORMALIZATION", "v", table="L2Norm"),
}  # fmt: skip

SHAPES: dict[str, Case] = {
    "RESHAPE": case("RESHAPE", "v", i32(5, 3), table="Reshape", newShape=i32(5, 3)),
    "TRANSPOSE": case("TRANSPOSE", "x", i32(0, 3, 1, 2)),
    "EXPAND_DIMS": case("EXPAND_DIMS", "v", i32(1)),
    "SQUEEZE": case("SQUEEZE", "x", table="Squeeze", squeezeDims=i32(0)),
    "CONCATENATION": case("CONCATENATION", "v", "w", table="Concatenation", axis=1),
    "PACK": case("PACK", "v", "w", table="Pack", axis=1, valuesCount=2),
    "UNPACK": case("UNPACK", "v", table="Unpack", outputs=3, num=3, axis=0),
    "SPLIT": case("SPLIT", i32(2), "x", table="Split", outputs=2, numSplits=2),
    "SPLIT_V": case("SPLIT_V", "v", i32(1, 4), i32(1), table="SplitV", outputs=2, numSplits=2),
    "SLICE": case("SLICE", "v", i32(1, 0), i32(2, 3), shape=(2, 3)),
    "STRIDED_SLICE": case("STRIDED_SLICE", "v", i32(0, 4), i32(3, 0), i32(2, -2),
                          table="StridedSlice"),
    "STRIDED_SLICE_mask": case("STRIDED_SLICE", "v", i32(1, 1), i32(2, 9), i32(1, 1),
                               table="StridedSlice", shrinkAxisMask=1, endMask=2),
    "GATHER": case("GATHER", "v", i32(2, 0, 2), table="Gather", axis=0),
    "GATHER_ND": case("GATHER_ND", "v", np.array([[0, 1], [2, 4]], np.int32)),
    "TILE": case("TILE", "v", i32(2, 1)),
    "PAD": case("PAD", "x", np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)),
    "PADV2": case("PADV2", "v", np.array([[1, 0], [0, 2]], np.int32), np.float32(0.5)),
    "MIRROR_PAD": case("MIRROR_PAD", "v", np.array([[1, 1], [2, 0]], np.int32),
                       table="MirrorPad", mode=0),
    "BROADCAST_TO": case("BROADCAST_TO", "v", i32(2, 3, 5)),
    "REVERSE": case("REVERSE_V2", "v", i32(1)),
    "CUMSUM": case("CUMSUM", "v", np.int32(1), table="Cumsum"),
    "SPACE_TO_DEPTH": case("SPACE_TO_DEPTH", table="SpaceToDepth", blockSize=2),
    "DEPTH_TO_SPACE": case("DEPTH_TO_SPACE", table="DepthToSpace", blockSize=2),
    "MEAN": case("MEAN", "x", i32(1, 2), table="Reducer", keepDims=False),
    "SUM": case("SUM", "v", i32(-1), table="Reducer", keepDims=True),
    "REDUCE_MAX": case("REDUCE_MAX", "v", i32(0), table="Reducer"),
    "ARG_MAX": case("ARG_MAX", "v", np.int32(1), table="ArgMax", dtype="int32",
                    outputType=schema.TensorType.INT32),
}  # fmt: skip

LAYERS: dict[str, Case] = {
    "CONV_2D": case("CONV_2D", "x", f32(6, 3, 3, 4), f32(6), table="Conv2D", padding=SAME,
                    strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1,
                    fusedActivationFunction=RELU),
    "CONV_2D_valid": case("CONV_2D", "x", f32(2, 3, 1, 4), f32(2), table="Conv2D", padding=VALID,
                          strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=2),
    "DEPTHWISE": case("DEPTHWISE_CONV_2D", "x", f32(1, 3, 3, 4), f32(4), table="DepthwiseConv2D",
                      padding=SAME, strideH=1, strideW=1, depthMultiplier=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=RELU6),
    "DEPTHWISE_2": case("DEPTHWISE_CONV_2D", "x", f32(1, 3, 3, 8), f32(8), table="DepthwiseConv2D",
                        padding=SAME, strideH=2, strideW=2, depthMultiplier=2, dilationHFactor=1,
                        dilationWFactor=1),
    "TRANSPOSE_CONV": case("TRANSPOSE_CONV", i32(1, 12, 16, 3), f32(3, 3, 3, 4), "x",
                           table="TransposeConv", padding=SAME, strideH=2, strideW=2),
    "FULLY_CONNECTED": case("FULLY_CONNECTED", "v", f32(7, 5), f32(7), table="FullyConnected",
                            fusedActivationFunction=RELU),
    "BATCH_MATMUL": case("BATCH_MATMUL", "v", f32(5, 4), table="BatchMatMul"),
    "MAX_POOL": case("MAX_POOL_2D", table="Pool2D", padding=SAME, strideH=2, strideW=2,
                     filterHeight=3, filterWidth=3),
    "AVERAGE_POOL": case("AVERAGE_POOL_2D", table="Pool2D", padding=SAME, strideH=2, strideW=2,
                         filterHeight=3, filterWidth=3),
    "RESIZE_BILINEAR": case("RESIZE_BILINEAR", "x", i32(9, 11), table="ResizeBilinear",
                            halfPixelCenters=True),
    "RESIZE_corners": case("RESIZE_BILINEAR", "x", i32(9, 11), table="ResizeBilinear",
                           alignCorners=True),
    "RESIZE_NEAREST": case("RESIZE_NEAREST_NEIGHBOR", "x", i32(12, 16),
                           table="ResizeNearestNeighbor", halfPixelCenters=True),
    "LRN": case("LOCAL_RESPONSE_NORMALIZATION", table="LocalResponseNormalization", radius=2,
                bias=1.0, alpha=0.5, beta=0.75),
}  # fmt: skip


@pytest.mark.parametrize(
    "cases", [POINTWISE, SHAPES, LAYERS], ids=["pointwise", "shapes", "layers"]
)
def test_like_litert(cases: dict[str, Case], tmp_path: Path) -> None:
    check(cases, tmp_path)
