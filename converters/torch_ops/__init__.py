"""Conversions of torch operators: ours in front of those of TVM's importer.

Ours stand where TVM has none, where it leaves torch's meaning (types that mix, ``alpha``,
corrections, negative indices), or where its program could read outside of a tensor. One module per
group of operators; `SUPPORT` is the table of all.
"""

from __future__ import annotations

from functools import cache

from millijoule.converters.torch_ops import (
    arithmetic,
    attention,
    image,
    indexing,
    norms,
    pointwise,
    reduction,
    resize,
    shapes,
)
from millijoule.converters.torch_ops.context import Context, Convert

__all__ = ["CONVERTERS", "REFUSED", "Context", "Convert", "supported", "tvm_names"]

CONVERTERS: dict[str, Convert] = {
    **arithmetic.CONVERTERS,
    **attention.CONVERTERS,
    **indexing.CONVERTERS,
    **image.CONVERTERS,
    **norms.CONVERTERS,
    **pointwise.CONVERTERS,
    **reduction.CONVERTERS,
    **resize.CONVERTERS,
    **shapes.CONVERTERS,
}

_RANDOM = "it draws random numbers, which no expected output can be given for"
_VALUES = "its shape or control flow depends on the values of tensors"
# What TVM would import, but not as torch means it, or not into a static program.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("bernoulli.p", "exponential.default", "rand.default", "randn.default",
         "randn_like.default", "randperm.default"),
        _RANDOM,
    ),
    **dict.fromkeys(
        ("cond", "item.default", "_local_scalar_dense.default", "masked_select.default",
         "nonzero.default"),
        _VALUES,
    ),
    **dict.fromkeys(
        ("to_sparse.default", "_sparse_mm.default", "_sparse_addmm.default"),
        "sparse tensors have no place in a bundle; use dense ones",
    ),
}  # fmt: skip


@cache
def tvm_names() -> frozenset[str]:
    """Operators that TVM's importer converts, by the names that it uses."""
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    return frozenset(ExportedProgramImporter().create_convert_map())


def supported() -> dict[str, str]:
    """Operator → whose conversion it is, "millijoule" or "tvm"; without `REFUSED`."""
    table = dict.fromkeys(sorted(tvm_names()), "tvm") | dict.fromkeys(CONVERTERS, "millijoule")
    return {name: table[name] for name in sorted(table) if name not in REFUSED}
