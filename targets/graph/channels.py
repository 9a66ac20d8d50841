"""Channels second, as torch has them: what all emitters of convolutions and poolings expect.

Models from TensorFlow Lite have their channels last. Their operators become the same ones between
transposes, which most of the time meet another transpose and are one with it (`merged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

Emit = Callable[[relax.Expr], relax.Var]

_KERNELS = {"conv1d": "OIW", "conv2d": "OIHW", "conv3d": "OIDHW", "conv1d_transpose": "IOW",
            "conv2d_transpose": "IOHW", "conv3d_transpose": "IODHW"}  # fmt: skip


def channels_first(
    call: relax.Call, name: str, args: Sequence[relax.Expr], emit: Emit
) -> relax.Expr | None:
    """``call`` of the operator ``name`` over ``args`` with channels second, transposed back.

    None if it has no layout, or has its channels there already.
    """
    key = "data_layout" if hasattr(call.attrs, "data_layout") else "layout"
    layout = str(getattr(call.attrs, key, ""))
    if not layout.endswith("C") or not layout.startswith("N"):
        return None
    first = "NC" + layout[1:-1]
    changed = {key: first, "out_layout": first}
    x, *rest = args
    x = emit(relax.op.permute_dims(x, [layout.index(axis) for axis in first]))
    if hasattr(call.attrs, "kernel_layout"):
        kernel, wanted = str(call.attrs.kernel_layout), _KERNELS[name.removeprefix("relax.nn.")]
        rest[0] = emit(relax.op.permute_dims(rest[0], [kernel.index(axis) for axis in wanted]))
        changed["kernel_layout"] = wanted
    y = emit(relax.Call(call.op, [x, *rest], _with(call.attrs, changed)))
    return relax.op.permute_dims(y, [first.index(axis) for axis in layout])


def _with(attrs: Any, changed: dict[str, str]) -> Any:
    """``attrs`` with other values of the fields in ``changed`` that it has."""
    info = type(attrs).__tvm_ffi_type_info__
    values = {f.name: getattr(attrs, f.name) for f in info.fields}
    return tvm.ir.make_node(
        info.type_key, **{name: changed.get(name, value) for name, value in values.items()}
    )
