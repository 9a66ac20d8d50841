"""Every operator that we convert ourselves, and many of TVM's, against torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cases import Function, check

ARITHMETIC: dict[str, Function] = {
    "add_alpha": lambda x, y, i, j: torch.add(x, y, alpha=2.5),
    "sub_alpha": lambda x, y, i, j: torch.sub(x, y, alpha=3),
    "rsub": lambda x, y, i, j: torch.rsub(x, y, alpha=2),
    "mixed_add": lambda x, y, i, j: i + x,
    "int_float_scalar": lambda x, y, i, j: i * 1.5,
    "int_div": lambda x, y, i, j: i / 4,
    "int_div_tensor": lambda x, y, i, j: i / (j.abs() + 1),
    "div_floor": lambda x, y, i, j: torch.div(x, y, rounding_mode="floor"),
    "div_trunc": lambda x, y, i, j: torch.div(x, y, rounding_mode="trunc"),
    "int_div_floor": lambda x, y, i, j: torch.div(i, j.abs() + 1, rounding_mode="floor"),
    "int_div_trunc": lambda x, y, i, j: torch.div(i, j.abs() + 1, rounding_mode="trunc"),
    "floor_divide_mixed": lambda x, y, i, j: i // 1.5,
    "floor_divide": lambda x, y, i, j: i // 2,
    "remainder": lambda x, y, i, j: x % 0.7,
    "remainder_int": lambda x, y, i, j: i % 2,
    "fmod": lambda x, y, i, j: torch.fmod(x, 0.7),
    "fmod_int": lambda x, y, i, j: torch.fmod(i, 2),
    "pow_2": lambda x, y, i, j: x**2,
    "pow_3": lambda x, y, i, j: x**3,
    "pow_half": lambda x, y, i, j: x.abs() ** 0.5,
    "pow_minus": lambda x, y, i, j: x.abs() ** -0.5,
    "pow_tensor": lambda x, y, i, j: x.abs() ** y,
    "pow_int": lambda x, y, i, j: i**3,
    "scalar_pow": lambda x, y, i, j: 2.0**x,
    "compare_mixed": lambda x, y, i, j: i < 0.5,
    "compare": lambda x, y, i, j: (x > y) & (i != j) | (x <= 0),
    "xor": lambda x, y, i, j: (x > 0) ^ (y > 0),
    "bits": lambda x, y, i, j: (i & 3) | (j ^ 1),
    "logical": lambda x, y, i, j: torch.logical_or(i, torch.logical_and(x, j)),
    "bool_sum": lambda x, y, i, j: (x > 0) * 2.5 + (y > 0),
    "maximum": lambda x, y, i, j: torch.maximum(x, i),
    "atan2": lambda x, y, i, j: torch.atan2(x, y),
    "lerp": lambda x, y, i, j: torch.lerp(x, y, 0.3),
    "addcmul": lambda x, y, i, j: torch.addcmul(x, y, y, value=0.5),
    "where_scalar": lambda x, y, i, j: torch.where(x > 0, x, 0.25),
    "cast": lambda x, y, i, j: x.to(torch.int32) + i.to(torch.int32),
    "masked_fill": lambda x, y, i, j: x.masked_fill(i > 0, -1e4),
}

_ANY = (
    "abs exp expm1 sin cos tan tanh sinh cosh atan asinh erf erfc sigmoid relu floor ceil round "
    "trunc sign neg square exp2 frac isnan isinf isfinite reciprocal"
)
_ACTIVATIONS = (
    "gelu silu mish softplus elu selu celu hardswish hardsigmoid hardtanh leaky_relu relu6 "
    "logsigmoid softsign tanhshrink hardshrink softshrink"
)


def _unary(names: str, group: Any, inside: Callable[[Tensor], Tensor]) -> dict[str, Function]:
    """Functions of x by their names, on a range of x where they are defined."""

    def apply(function: Callable[[Tensor], Tensor]) -> Function:
        return lambda x, y, i, j: function(inside(x))

    return {name: apply(getattr(group, name)) for name in names.split()}


POINTWISE: dict[str, Function] = {
    **_unary(_ANY, torch, lambda x: x),
    **_unary("sqrt rsqrt log log2 log10 log1p acosh", torch, lambda x: x.abs() + 1.5),
    **_unary("acos asin atanh", torch, torch.tanh),
    **_unary(_ACTIVATIONS, F, lambda x: x),
    "gelu_tanh": lambda x, y, i, j: F.gelu(x, approximate="tanh"),
    "elu_alpha": lambda x, y, i, j: F.elu(x, alpha=0.5),
    "prelu": lambda x, y, i, j: F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4])),
    "clamp": lambda x, y, i, j: x.clamp(-0.5, 0.7),
    "clamp_min": lambda x, y, i, j: x.clamp(min=0.1),
    "clamp_int": lambda x, y, i, j: i.clamp(-1, 1),
    "softmax": lambda x, y, i, j: x.softmax(1),
    "log_softmax": lambda x, y, i, j: x.log_softmax(-1),
    "glu": lambda x, y, i, j: F.glu(x, 1),
    "threshold": lambda x, y, i, j: F.threshold(x, 0.1, -2.0),
    "nan_to_num": lambda x, y, i, j: torch.nan_to_num(x / (x > 0)),
}

REDUCTION: dict[str, Function] = {
    "sum": lambda x, y, i, j: x.sum(),
    "sum_dims": lambda x, y, i, j: x.sum((0, -1), keepdim=True),
    "sum_bool": lambda x, y, i, j: (x > 0).sum(1),
    "sum_int": lambda x, y, i, j: i.to(torch.int32).sum(2),
    "mean": lambda x, y, i, j: x.mean(),
    "mean_dims": lambda x, y, i, j: x.mean((1, 2)),
    "prod": lambda x, y, i, j: x.prod(1),
    "amax": lambda x, y, i, j: x.amax((0, 2)),
    "amin": lambda x, y, i, j: x.amin(-1, keepdim=True),
    "max": lambda x, y, i, j: x.max(),
    "max_dim": lambda x, y, i, j: x.max(1)[0] + x.max(1)[1],
    "min_dim": lambda x, y, i, j: x.min(-1, keepdim=True)[1],
    "argmax": lambda x, y, i, j: x.argmax(),
    "argmax_dim": lambda x, y, i, j: x.argmax(2, keepdim=True),
    "argmin": lambda x, y, i, j: x.argmin(0),
    "any": lambda x, y, i, j: (x > 2).any(),
    "any_dim": lambda x, y, i, j: (x > 1).any(1),
    "all_dim": lambda x, y, i, j: (x > -1).all(2),
    "var": lambda x, y, i, j: x.var(1),
    "var_biased": lambda x, y, i, j: x.var((0, 2), unbiased=False),
    "std": lambda x, y, i, j: x.std(-1, keepdim=True),
    "logsumexp": lambda x, y, i, j: x.logsumexp(1),
    "norm": lambda x, y, i, j: x.norm(dim=2),
    "normalize": lambda x, y, i, j: F.normalize(x, dim=1),
    "cumsum": lambda x, y, i, j: x.cumsum(1),
    "cumsum_int": lambda x, y, i, j: i.cumsum(-1),
    "cumprod": lambda x, y, i, j: x.cumprod(2),
    "sort": lambda x, y, i, j: x.sort(1)[0],
    "sort_down": lambda x, y, i, j: x.sort(dim=-1, descending=True)[1],
    "argsort": lambda x, y, i, j: x.argsort(0),
    "topk": lambda x, y, i, j: x.topk(3, dim=2)[0],
    "topk_indices": lambda x, y, i, j: x.topk(2, dim=1)[1],
    "topk_smallest": lambda x, y, i, j: x.topk(2, dim=1, largest=False)[0],
}

INDEXING: dict[str, Function] = {
    "index_axis_1": lambda x, y, i, j: x[:, i[0, 0] % 4],
    "index_negative": lambda x, y, i, j: x[i[0, :, 0]],
    "index_pair": lambda x, y, i, j: x[i[0], j[0]],
    "index_apart": lambda x, y, i, j: x[i[0, :, 0], :, j[0, :, 0]],
    "index_broadcast": lambda x, y, i, j: x[i[:, :1, 0], j[:1, :, 0]],
    "index_constant": lambda x, y, i, j: x[:, [[3, 0], [-1, 2]], [[1], [4]]],
    "index_put": lambda x, y, i, j: x.index_put((i[0],), y[:1, 0]),
    "index_add_values": lambda x, y, i, j: x.index_put(
        (i[0, :, 0], j[0, :, 0]), y[0], accumulate=True
    ),
    "index_select": lambda x, y, i, j: x.index_select(1, i[0, 0].abs()),
    "embedding": lambda x, y, i, j: F.embedding(i + 3, torch.arange(12.0).reshape(6, 2)),
    "gather": lambda x, y, i, j: x.gather(1, i[:, :2].abs()),
    "scatter": lambda x, y, i, j: x.scatter(1, i[:, :1].abs(), y[:, :1]),
    "scatter_value": lambda x, y, i, j: x.scatter(2, i[:, :, :1].abs(), 0.5),
    "scatter_add": lambda x, y, i, j: x.scatter_add(1, i.abs(), y),
    "scatter_reduce": lambda x, y, i, j: x.scatter_reduce(1, i.abs(), y, "amax"),
    "select_scatter": lambda x, y, i, j: x.select_scatter(y[:, 0], 1, -2),
    "slice_scatter": lambda x, y, i, j: x.slice_scatter(y[:, :2], 1, 1, 3),
    "take_along_dim": lambda x, y, i, j: x.take_along_dim(i.abs()[:, :1], 1),
    "reflection_pad": lambda x, y, i, j: F.pad(x, (2, 1), mode="reflect"),
    "replication_pad": lambda x, y, i, j: F.pad(x, (1, 3), mode="replicate"),
    "reflection_pad_2d": lambda x, y, i, j: F.pad(x, (1, 2, 3, 1), mode="reflect"),
    "circular_pad": lambda x, y, i, j: F.pad(x, (1, 2), mode="circular"),
    "constant_pad": lambda x, y, i, j: F.pad(x, (1, -1, 0, 2), value=0.5),
}

SHAPES: dict[str, Function] = {
    "permute": lambda x, y, i, j: x.permute(2, 0, 1),
    "reshape": lambda x, y, i, j: x.reshape(2, -1, 3),
    "transpose": lambda x, y, i, j: x.transpose(0, -1),
    "flip": lambda x, y, i, j: x.flip(0, 2),
    "roll": lambda x, y, i, j: x.roll((1, -2), (1, 2)),
    "cat": lambda x, y, i, j: torch.cat([x, y], -1),
    "stack": lambda x, y, i, j: torch.stack([x, y], 1),
    "split": lambda x, y, i, j: x.split([1, 3], 1)[1],
    "chunk": lambda x, y, i, j: x.chunk(2, 1)[1],
    "unbind": lambda x, y, i, j: x.unbind(1)[2],
    "repeat": lambda x, y, i, j: x.repeat(2, 1, 3),
    "repeat_interleave": lambda x, y, i, j: x.repeat_interleave(2, 1),
    "tile": lambda x, y, i, j: x.tile(2),
    "expand": lambda x, y, i, j: x[:, :1].expand(-1, 6, -1) * 2,
    "slice_step": lambda x, y, i, j: x[:, ::2, -3:],
    "select": lambda x, y, i, j: x[-1],
    "tril": lambda x, y, i, j: x.tril(-1),
    "triu": lambda x, y, i, j: x.triu(1),
    "diagonal": lambda x, y, i, j: x.diagonal(dim1=1, dim2=2),
    "arange": lambda x, y, i, j: torch.arange(5) * i,
    "one_hot": lambda x, y, i, j: F.one_hot(i + 3, 7),
    "meshgrid": lambda x, y, i, j: torch.meshgrid(x[0, 0], y[0, 0], indexing="ij")[1],
    "unfold": lambda x, y, i, j: x.unfold(2, 3, 1),
    "einsum": lambda x, y, i, j: torch.einsum("bij,bkj->bik", x, y),
    "bmm": lambda x, y, i, j: torch.bmm(x, y.transpose(1, 2)),
    "outer": lambda x, y, i, j: torch.outer(x[0, 0], y[0, 0]),
    "movedim": lambda x, y, i, j: x.movedim(0, 2),
    "squeeze": lambda x, y, i, j: x[:1].squeeze(0).unsqueeze(-1),
    "as_strided": lambda x, y, i, j: x.as_strided((3, 2), (20, 3), 1),
}

torch.manual_seed(0)
_CONV, _DEPTHWISE = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(3, 3, 3, groups=3)
_UP, _UP_1D = nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), nn.ConvTranspose1d(4, 2, 3)
_DILATED, _CONV_1D = nn.Conv2d(3, 3, (3, 1), dilation=(1, 1)), nn.Conv1d(4, 3, 3, padding="same")
_NORM, _GROUP, _BATCH = nn.LayerNorm(5), nn.GroupNorm(2, 4), nn.BatchNorm1d(4).eval()
_INSTANCE, _LSTM = nn.InstanceNorm1d(4, affine=True), nn.LSTM(5, 3, batch_first=True)
_GRU, _LINEAR = nn.GRU(5, 3), nn.Linear(5, 3)


def _image(function: Function) -> Function:
    """``function`` of x as one image [1, 3, 8, 10]."""
    return lambda x, y, i, j: function(x.repeat(1, 2, 2).unsqueeze(0))


LAYERS: dict[str, Function] = {
    "conv2d": _image(_CONV),
    "conv2d_depthwise": _image(_DEPTHWISE),
    "conv2d_dilated": _image(_DILATED),
    "conv1d": lambda x, y, i, j: _CONV_1D(x),
    "conv_transpose2d": _image(_UP),
    "conv_transpose1d": lambda x, y, i, j: _UP_1D(x),
    "linear": lambda x, y, i, j: _LINEAR(x),
    "layer_norm": lambda x, y, i, j: _NORM(x),
    "rms_norm": lambda x, y, i, j: F.rms_norm(x, (5,)),
    "group_norm": lambda x, y, i, j: _GROUP(x),
    "batch_norm": lambda x, y, i, j: _BATCH(x),
    "group_norm_plain": lambda x, y, i, j: F.group_norm(x, 2),
    "group_norm_weight": lambda x, y, i, j: F.group_norm(x, 2, y[0, 0, :4]),
    "instance_norm": lambda x, y, i, j: _INSTANCE(x),
    "lstm": lambda x, y, i, j: _LSTM(x)[0],
    "gru": lambda x, y, i, j: _GRU(x)[0],
    "max_pool2d": _image(lambda x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool2d_ceil": _image(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "max_pool1d": lambda x, y, i, j: F.max_pool1d(x, 2),
    "avg_pool2d": _image(lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "avg_pool2d_without_pad": _image(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    "avg_pool2d_ceil": _image(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)),
    "avg_pool1d": lambda x, y, i, j: F.avg_pool1d(x, 2),
    "adaptive_avg_pool2d": _image(lambda x: F.adaptive_avg_pool2d(x, (3, 4))),
    "adaptive_avg_pool2d_1": _image(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "adaptive_max_pool2d_1": _image(lambda x: F.adaptive_max_pool2d(x, 1)),
    "upsample_nearest": _image(lambda x: F.interpolate(x, scale_factor=2)),
    "upsample_nearest_size": _image(lambda x: F.interpolate(x, (13, 9))),
    "upsample_nearest_factor": _image(lambda x: F.interpolate(x, scale_factor=2.3)),
    "upsample_nearest_smaller": _image(lambda x: F.interpolate(x, scale_factor=0.6)),
    "upsample_nearest_exact": _image(lambda x: F.interpolate(x, (13, 9), mode="nearest-exact")),
    "upsample_bilinear_factor": _image(
        lambda x: F.interpolate(x, scale_factor=2.3, mode="bilinear")
    ),
    "upsample_bilinear": _image(lambda x: F.interpolate(x, (13, 9), mode="bilinear")),
    "upsample_bilinear_corners": _image(
        lambda x: F.interpolate(x, (13, 9), mode="bilinear", align_corners=True)
    ),
    "upsample_bicubic": _image(lambda x: F.interpolate(x, (13, 9), mode="bicubic")),
    "upsample_linear": lambda x, y, i, j: F.interpolate(x, 9, mode="linear"),
    "pixel_shuffle": lambda x, y, i, j: F.pixel_shuffle(x.permute(1, 0, 2).unsqueeze(0), 2),
    "grid_sample": _image(
        lambda x: F.grid_sample(x, x[:, :2, :, :5].permute(0, 2, 3, 1).tanh(), align_corners=False)
    ),
    "attention": lambda x, y, i, j: F.scaled_dot_product_attention(x[None], y[None], x[None]),
    "attention_causal": lambda x, y, i, j: F.scaled_dot_product_attention(
        x[None], y[None], y[None], is_causal=True
    ),
    "attention_mask": lambda x, y, i, j: F.scaled_dot_product_attention(
        x[None], y[None], y[None], attn_mask=x[:, :4, :4]
    ),
    "attention_bool": lambda x, y, i, j: F.scaled_dot_product_attention(
        x[None], y[None], y[None], attn_mask=i[:, :4, :4] > -3
    ),
    "unfold_image": _image(lambda x: F.unfold(x, 3, stride=2, padding=1)),
    "fold_image": _image(lambda x: F.fold(F.unfold(x, 3, padding=1), (8, 10), 3, padding=1)),
}


@pytest.mark.parametrize(
    "functions",
    [ARITHMETIC, POINTWISE, REDUCTION, INDEXING, SHAPES, LAYERS],
    ids=["arithmetic", "pointwise", "reduction", "indexing", "shapes", "layers"],
)
def test_like_torch(functions: dict[str, Function], tmp_path: Path) -> None:
    check(functions, tmp_path)
