"""The operators of the support table, one by one, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.onnx_graphs import Case, case, check

RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray:
    """Normal numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    """A vector of integers."""
    return np.array(values, np.int64)


POSITIVE = np.abs(f32(2, 3, 4)) + 1

UNARY: dict[str, Case] = {
    **{
        op: case(op)
        for op in (
            "Abs", "Neg", "Exp", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Asinh", "Atan", "Tanh",
            "Sigmoid", "Relu", "Floor", "Ceil", "Round", "Sign", "Erf", "Identity", "Softplus",
            "Softsign", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "HardSwish", "Celu", "Mish",
            "ThresholdedRelu", "Gelu", "Reciprocal", "IsNaN", "IsInf", "Hardmax", "Softmax",
            "LogSoftmax", "Flatten", "Shrink",
        )
    },
    "gelu_tanh": case("Gelu", approximate="tanh"),
    "elu_alpha": case("Elu", alpha=0.5),
    "leaky": case("LeakyRelu", alpha=0.2),
    "hard_sigmoid": case("HardSigmoid", alpha=0.3, beta=0.4),
    "softmax_axis": case("Softmax", axis=1),
    "clip": case("Clip", "x", np.float32(-0.5), np.float32(0.7)),
    "clip_low": case("Clip", "x", np.float32(0.1)),
    "not": case("Not", "b"),
    "cast": case("Cast", "x", to=6),
    "cast_bool": case("Cast", "b", to=1),
    "cast_int": case("Cast", "i", to=1),
    "bitwise_not": case("BitwiseNot", "i"),
    "dropout": case("Dropout"),
    "prelu": case("PRelu", "x", f32(3, 1)),
}  # fmt: skip

BINARY: dict[str, Case] = {
    **{op: case(op, "x", "y") for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")},
    **{
        op: case(op, "x", "y")
        for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
    },
    "broadcast": case("Add", "x", f32(3, 1)),
    "div_int": case("Div", "i", i64(3)),
    "pow": case("Pow", POSITIVE, "y"),
    "pow_scalar": case("Pow", "x", np.float32(2)),
    "pow_int": case("Pow", "x", np.int64(3)),
    "mod": case("Mod", "i", i64(2)),
    "fmod": case("Mod", "x", np.float32(0.7), fmod=1),
    "and": case("And", "b", np.array([True, False, True, True])),
    "or": case("Or", "b", np.array([True, False, True, False])),
    "xor": case("Xor", "b", np.array([True, False, True, False])),
    "bitwise_and": case("BitwiseAnd", "i", i64(1)),
    "bitwise_or": case("BitwiseOr", "i", i64(2)),
    "where": case("Where", "b", "x", "y"),
    "where_scalar": case("Where", "b", "x", np.float32(-10000)),
    "sum_3": case("Sum", "x", "y", "x"),
    "max_3": case("Max", "x", "y", np.float32(0.5)),
}

REDUCTIONS: dict[str, Case] = {
    **{
        f"{op}": case(op, "x", i64(1))
        for op in (
            "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
            "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare",
        )
    },
    "reduce_all": case("ReduceSum", "x"),
    "reduce_flat": case("ReduceMean", "x", i64(0, -1), keepdims=0),
    "reduce_log_sum": case("ReduceLogSum", POSITIVE, i64(1)),
    "arg_max": case("ArgMax", "x", axis=1),
    "arg_min": case("ArgMin", "x", axis=-1, keepdims=0),
    "cumsum": case("CumSum", "x", np.int64(1)),
    "cumsum_exclusive": case("CumSum", "x", np.int64(1), exclusive=1),
    "cumsum_reverse": case("CumSum", "x", np.int64(2), reverse=1),
    "topk": case("TopK", "x", i64(2), outputs=2, axis=1),
    "topk_smallest": case("TopK", "x", i64(3), outputs=2, largest=0),
}  # fmt: skip

SHAPES: dict[str, Case] = {
    "reshape": case("Reshape", "x", i64(0, -1)),
    "transpose": case("Transpose", perm=[2, 0, 1]),
    "transpose_default": case("Transpose"),
    "squeeze": case("Squeeze", f32(1, 3, 1), i64(0)),
    "unsqueeze": case("Unsqueeze", "x", i64(0, -1)),
    "concat": case("Concat", "x", "y", axis=-1),
    "split": case("Split", "x", i64(1, 2), outputs=2, axis=1),
    "split_equal": case("Split", "x", outputs=2, axis=2, num_outputs=2),
    "slice": case("Slice", "x", i64(1, -3), i64(3, 100), i64(1, 2)),
    "slice_step": case("Slice", "x", i64(0), i64(4), i64(2), i64(2)),
    "slice_back": case("Slice", "x", i64(-1), i64(-100), i64(1), i64(-1)),
    "gather": case("Gather", "x", np.array([[0, 2], [-1, 1]]), axis=1),
    "gather_scalar": case("Gather", "x", np.int64(-1), axis=1),
    "gather_data": case("Gather", f32(5, 3), "i"),
    "gather_elements": case("GatherElements", "x", "i", axis=1),
    "gather_nd": case("GatherND", "x", np.array([[0, 1], [1, -1]])),
    "scatter_elements": case("ScatterElements", "x", np.array([[[1, 0, -1, 0]]]), f32(1, 1, 4),
                             axis=1),
    "scatter_add": case("ScatterElements", "x", "i", "y", axis=2, reduction="add"),
    "scatter_nd": case("ScatterND", "x", np.array([[0, 1], [1, -1]]), f32(2, 4)),
    "expand": case("Expand", f32(3, 1), i64(2, 1, 4)),
    "expand_x": case("Expand", "x", i64(5, 1, 1, 1)),
    "tile": case("Tile", "x", i64(1, 2, 3)),
    "pad": case("Pad", "x", i64(0, 1, 2, 0, 0, 1)),
    "pad_value": case("Pad", "x", i64(0, 1, 2, 0, 0, 1), np.float32(0.5)),
    "pad_reflect": case("Pad", "x", i64(0, 1, 2, 0, 1, 1), mode="reflect"),
    "pad_edge": case("Pad", "x", i64(0, 1, 2, 0, 1, 3), mode="edge"),
    "shape": case("Shape"),
    "size": case("Size"),
    "constant_of_shape": case("ConstantOfShape", i64(2, 3)),
    "range": case("Range", np.int64(1), np.int64(9), np.int64(2)),
    "eye_like": case("EyeLike", f32(3, 4)),
    "one_hot": case("OneHot", "i", np.int64(4), np.array([0.0, 2.0], np.float32)),
    "trilu": case("Trilu", "x", upper=0),
    "trilu_up": case("Trilu", "x", np.int64(1)),
    "depth_to_space": case("DepthToSpace", "img", blocksize=2),
    "depth_to_space_crd": case("DepthToSpace", "img", blocksize=2, mode="CRD"),
    "space_to_depth": case("SpaceToDepth", "img", blocksize=2),
}  # fmt: skip

LAYERS: dict[str, Case] = {
    "matmul": case("MatMul", "x", f32(4, 5)),
    "matmul_batch": case("MatMul", "x", f32(2, 4, 3)),
    "matmul_both": case("MatMul", f32(2, 5, 3), "x"),
    "gemm": case("Gemm", f32(3, 4), f32(5, 4), f32(5), alpha=0.5, beta=2.0, transB=1),
    "einsum": case("Einsum", "x", "y", equation="bij,bkj->bik"),
    "conv": case("Conv", "img", f32(6, 4, 3, 3), f32(6), pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv_group": case("Conv", "img", f32(4, 1, 3, 3), group=4),
    "conv_dilated": case("Conv", "img", f32(2, 4, 3, 3), dilations=[2, 1], pads=[2, 0, 1, 1]),
    "conv_same": case("Conv", "img", f32(2, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_1d": case("Conv", "x", f32(2, 3, 3), pads=[1, 1]),
    "conv_transpose": case("ConvTranspose", "img", f32(4, 2, 3, 3), strides=[2, 2],
                           output_padding=[1, 1], pads=[1, 1, 1, 1]),
    "conv_transpose_group": case("ConvTranspose", "img", f32(4, 1, 2, 2), group=2, strides=[2, 2]),
    "max_pool": case("MaxPool", "img", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max_pool_ceil": case("MaxPool", "img", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average_pool": case("AveragePool", "img", kernel_shape=[3, 3], strides=[2, 2],
                         pads=[1, 1, 1, 1]),
    "average_pool_pad": case("AveragePool", "img", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                             count_include_pad=1),
    "average_pool_same": case("AveragePool", "img", kernel_shape=[3, 3], strides=[2, 2],
                              auto_pad="SAME_UPPER"),
    "mean_variance": case("MeanVarianceNormalization", "img"),
    "global_average": case("GlobalAveragePool", "img"),
    "global_max": case("GlobalMaxPool", "img"),
    "layer_norm": case("LayerNormalization", "x", f32(4), f32(4)),
    "layer_norm_axis": case("LayerNormalization", "x", f32(3, 4), f32(3, 4), axis=1, epsilon=1e-3),
    "batch_norm": case("BatchNormalization", "img", f32(4), f32(4), f32(4), np.abs(f32(4))),
    "instance_norm": case("InstanceNormalization", "img", f32(4), f32(4)),
    "lrn": case("LRN", "img", size=3),
    "resize_nearest": case("Resize", "img", None, np.array([1, 1, 2, 2], np.float32)),
    "resize_linear": case("Resize", "img", None, None, i64(1, 4, 13, 7), mode="linear"),
    "resize_corners": case("Resize", "img", None, None, i64(1, 4, 13, 7), mode="linear",
                           coordinate_transformation_mode="align_corners"),
    "resize_cubic": case("Resize", "img", None, None, i64(1, 4, 13, 7), mode="cubic",
                         cubic_coeff_a=-0.75),
    "resize_floor": case("Resize", "img", None, np.array([1, 1, 2, 2], np.float32), mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "grid_sample": case("GridSample", "img", np.tanh(f32(1, 5, 6, 2))),
    "quantize": case("QuantizeLinear", "x", np.float32(0.05), np.int8(3)),
    "dequantize": case("DequantizeLinear", RNG.integers(-9, 9, (3, 4)).astype(np.int8),
                       np.float32(0.05), np.int8(3)),
    "dequantize_axis": case("DequantizeLinear", RNG.integers(-9, 9, (3, 4)).astype(np.int8),
                            np.abs(f32(3)), np.zeros(3, np.int8), axis=0),
    "global_lp": case("GlobalLpPool", "img"),
    "lp_pool": case("LpPool", "img", kernel_shape=[2, 2]),
}  # fmt: skip


@pytest.mark.parametrize(
    "cases",
    [UNARY, BINARY, REDUCTIONS, SHAPES, LAYERS],
    ids=["unary", "binary", "reductions", "shapes", "layers"],
)
def test_like_onnx_runtime(cases: dict[str, Case], tmp_path: Path) -> None:
    check(cases, tmp_path)


def test_group_norm_of_opset_21(tmp_path: Path) -> None:
    cases = {"group_norm": case("GroupNormalization", "img", f32(4), f32(4), num_groups=2)}
    check(cases, tmp_path, opset=21)
