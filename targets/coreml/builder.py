"""`MilEmitter`: operators of one MIL function under construction."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name
from coremltools.converters.mil.mil import types

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Emitter, Node, Value

# MIL has no 64-bit integers, and its inputs no bytes
DTYPES = {
    "float32": types.fp32,
    "int32": types.int32,
    "int64": types.int32,
    "uint8": types.int32,
    "int8": types.int8,
    "bool": types.bool,
}
NAMES = {
    "float32": "fp32",
    "int32": "int32",
    "int64": "int32",
    "uint8": "int32",
    "int8": "int8",
    "bool": "bool",
}


# operators that move numbers, but no truth values
_NUMBERS_ONLY = ("gather", "gather_along_axis", "gather_nd", "pad", "tile")
# types of indices into tables of weights, by bits
_INDICES = {1: types.np_uint1_dtype, 2: types.np_uint2_dtype, 4: types.np_uint4_dtype, 8: np.uint8}
STATE, NEXT = "state:", "next:"  # what inputs and outputs that hold states are called by


class MilEmitter:
    """Operators go into the function or block whose context is open. ``outputs``: as declared.

    ``kept``: states that Core ML keeps: they are read in place of an input, and put in place of an
    output. ``system``: the oldest that runs the program.
    """

    def __init__(
        self, inputs: dict[str, Any], kept: Collection[str] = (), system: str = "iOS18"
    ) -> None:
        self._inputs, self._kept, self._system = inputs, kept, system
        self._counter = itertools.count()
        self.outputs: list[Any] = []
        self.layer = ""
        self.written = 0

    def input(self, name: str, type: TensorType) -> Value:
        """An input that the function was opened with."""
        holder = self._inputs[identifier(name)]
        if name.startswith(STATE) and name.removeprefix(STATE) in self._kept:
            holder = mb.cast(x=mb.read_state(input=holder), dtype="fp32")
        return Value(name, type, holder)

    def output(self, name: str, value: Arg) -> None:
        """Declare an output; truth values go out as numbers, which Core ML can hand on."""
        tensor = self.handle(value)
        if name.startswith(NEXT) and (state := name.removeprefix(NEXT)) in self._kept:
            holder = self._inputs[identifier(f"{STATE}{state}")]
            mb.coreml_update_state(state=holder, value=mb.cast(x=tensor, dtype="fp16"))
            return
        if tensor.dtype in (types.bool, types.int8):
            tensor = mb.cast(x=tensor, dtype="int32")
        self.outputs.append(mb.identity(x=tensor, name=identifier(name)))

    def handle(self, arg: Arg) -> Any:
        """``arg`` as MIL takes it: a variable, or an array that becomes a constant."""
        if isinstance(arg, Value):
            return arg.handle
        if isinstance(arg, tuple) or arg is None:
            raise TypeError(f"an operand must be a tensor, but is {arg!r}")
        array = np.asarray(arg)
        narrow = {"int64": "int32", "uint8": "int32"}.get(str(array.dtype))
        return array.astype(narrow) if narrow else array

    def shape(self, arg: Arg) -> tuple[int, ...]:
        """Shape of an operand."""
        return arg.type.shape if isinstance(arg, Value) else np.asarray(arg).shape

    def op(self, name: str, result: TensorType, **operands: Any) -> Value:
        """One operator of MIL; operands by its own names, `Arg` or plain Python values."""
        return self.ops(name, [result], **operands)[0]

    def ops(self, name: str, results: Sequence[TensorType], **operands: Any) -> tuple[Value, ...]:
        """One operator with several results."""
        given = {
            key: self.handle(value) if isinstance(value, Value | np.ndarray) else value
            for key, value in operands.items()
            if value is not None
        }
        if numbers := name in _NUMBERS_ONLY and _is_bool(given["x"]):
            given["x"] = mb.cast(x=given["x"], dtype="int32")
        label = identifier(f"{self.layer}_{name}_{next(self._counter)}")
        self.written += 1
        made = getattr(mb, name)(**given, name=label)
        variables = made if isinstance(made, list | tuple) else [made]
        if numbers:
            variables = [mb.cast(x=v, dtype="bool") for v in variables]
        return tuple(Value(label, t, v) for t, v in zip(results, variables, strict=True))

    def weights(self, t: TensorType, indices: np.ndarray, table: np.ndarray, bits: int) -> Value:
        """Constant weights as ``indices`` (uint8) of 1, 2, 4 or 8 bits into ``table`` [2^bits]."""
        self.written += 1
        label = identifier(f"{self.layer}_weights_{next(self._counter)}")
        if self._system == "iOS17":  # one table, indices packed into bytes
            made = mb.constexpr_lut_to_dense(
                indices=packed(indices, bits), lut=table,
                shape=np.array(indices.shape, np.uint32), name=label,
            )  # fmt: skip
        else:
            narrow = indices.astype(_INDICES[bits])
            lut = table.reshape(*[1] * indices.ndim, -1, 1)
            made = mb.constexpr_lut_to_dense(indices=narrow, lut=lut, name=label)
        return Value(label, t, made)

    def scan(
        self, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
    ) -> tuple[Value, ...]:
        """A loop along time as ``while_loop``; see `loop`."""
        from millijoule.targets.coreml.loop import while_loop

        return while_loop(self, node, walk_step)


def _is_bool(x: Any) -> bool:
    """Whether a variable or array holds truth values."""
    return bool(x.dtype in (types.bool, np.dtype(bool)))


def packed(indices: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of ``bits`` bits in bytes, the first in the lowest bits: what iOS 17 reads."""
    flat = indices.ravel().astype(np.uint8)
    planes = np.stack([flat >> i & 1 for i in range(bits)], 1)
    return np.packbits(planes.ravel(), bitorder="little")


def identifier(name: str) -> str:
    """``name`` with everything that a MIL name may not have as ``_``."""
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"


def mil_type(t: TensorType) -> Any:
    """MIL's element type of a tensor; UnsupportedError where it has none."""
    if t.dtype not in DTYPES:
        raise UnsupportedError(f"[coreml] tensors of type {t.dtype} cannot be written")
    return DTYPES[t.dtype]
