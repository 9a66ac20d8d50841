"""Accumulators stay in registers: a loop of multiply-adds that spills them takes twice as long.

LLVM decides that, by what else it keeps for later; so the loops are looked at as they come out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import tvm

from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import KernelForm
from millijoule.targets.kernels.attention import AttentionShape, Strided, attention_f32
from millijoule.targets.kernels.conv.direct import choose_tile, conv2d_f32, pack_filters
from millijoule.targets.kernels.conv.shape import conv_shape
from millijoule.targets.target import get_target

TARGET = get_target("x86-64-v4")
TILE = 20  # multiply-adds in one turn of a loop that matters


def attention() -> KernelForm:
    """197 queries and keys of 64, as vision transformers have: keys that fill no panel."""
    heads, rows, width = 3, 197, 64
    stride = 3 * heads * width
    views = [Strided(0, i * heads * width, (width, stride, 1)) for i in range(3)]
    return attention_f32(
        AttentionShape((heads,), rows, rows, width, width, 0.125),
        views,
        Strided(0, 0, (width, heads * width, 1)),
        [TensorType((rows * stride,), "float32")],
        TensorType((heads * rows * width,), "float32"),
        TARGET.isa,
    )


def patches() -> KernelForm:
    """16 × 16 pixels of an image become 192 channels."""
    shape = conv_shape((1, 224, 224, 3), (192, 3, 16, 16), (16, 16), (0,) * 4, (1, 1), 1)
    packed = pack_filters(normal((192, 3, 16, 16)), shape, choose_tile(shape, TARGET.isa))
    image, result = TensorType((1, 3, 224, 224), "float32"), TensorType((1, 14, 14, 192), "float32")
    filters = TensorType(packed.shape, "float32")
    return conv2d_f32(shape, image, filters, [], result, [], TARGET.isa, planar=True)


@pytest.mark.parametrize("make", [attention, patches])
def test_no_loop_of_multiply_adds_touches_the_stack(make: Callable[[], KernelForm]) -> None:
    func = make().func.with_attr("global_symbol", "kernel")
    library = tvm.compile(tvm.IRModule({"kernel": func}), target=TARGET.tvm())
    loops = [
        loop
        for loop in _innermost_loops(library.mod.inspect_source("asm"))
        if len(re.findall(r"\bvfn?madd\d+ps\b", loop)) >= TILE
    ]
    products = [loop for loop in loops if "vbroadcastss" in loop]
    assert products, "no loop of multiply-adds found"
    for loop in products:
        assert not re.search(r"\(%rsp\).*%zmm|%zmm.*\(%rsp\)", loop), loop


def _innermost_loops(assembly: str) -> list[str]:
    """What lies between a label and a jump back to it, without a label of another loop inside."""
    lines = assembly.splitlines()
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.\w+:", line)}
    spans = []
    for end, line in enumerate(lines):
        jump = re.match(r"\s+j\w+\s+(\.\w+)$", line)
        start = labels.get(jump[1], end) if jump else end
        if start < end:
            spans.append((start, end))
    inner = [s for s in spans if not any(s != o and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    return ["\n".join(lines[a:b]) for a, b in inner]
