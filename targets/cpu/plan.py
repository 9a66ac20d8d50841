"""Relax after memory planning → a `Plan`: which kernel is called when, on which bytes.

Everything is static but sizes within bounds, for which there is room at their most. Storage that
Relax plans (tensors, scratch) gets an offset in the arena, constants an offset in the weights blob;
inputs and outputs are the caller's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax, s_tir, tirx
from tvm_ffi import structural_equal, structural_hash, structural_walk

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.converters.ops.symbols import size_of
from millijoule.errors import UnsupportedError
from millijoule.sizes import Extent
from millijoule.targets.passes.count import count_arithmetic
from millijoule.targets.passes.match import returned
from millijoule.targets.passes.meta import META_KEY, KernelMeta
from millijoule.targets.passes.sizes import size_variables, sizes_of, with_sizes

ALIGNMENT = 64  # MJ_ALIGNMENT of the C runtime unless a target says otherwise


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """``size`` rounded up to the alignment of buffers."""
    return -(-size // alignment) * alignment


@dataclass(frozen=True)
class Ref:
    """Bytes that a kernel reads or writes: space is input, output, arena or weights.

    ``offset``: byte offset (arena, weights) or index (input, output).
    """

    space: str
    offset: int
    type: TensorType


@dataclass(frozen=True)
class KernelCall:
    """One call: pointers and numbers in the order of the kernel's parameters.

    ``args``: operands, then results (the first ``meta.results`` of ``outputs``), among them
    numbers; last come the ``sizes`` that the kernel's shapes need.
    """

    symbol: str
    args: tuple[Ref | Extent, ...]
    outputs: tuple[Ref, ...]
    meta: KernelMeta
    sizes: tuple[Extent, ...] = ()

    @property
    def operands(self) -> tuple[Ref, ...]:
        """Tensors that the kernel reads."""
        tensors = tuple(a for a in self.args if isinstance(a, Ref))
        return tensors[: len(tensors) - len(self.outputs)]


@dataclass
class Plan:
    """The whole program. ``copies`` are outputs that no kernel writes: (output index, source)."""

    calls: list[KernelCall] = field(default_factory=list)
    kernels: dict[str, tirx.PrimFunc] = field(default_factory=dict)
    copies: list[tuple[int, Ref]] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    planned_bytes: int = 0
    alignment: int = ALIGNMENT


def make_plan(module: tvm.IRModule, alignment: int = ALIGNMENT) -> Plan:
    """Walk ``main`` of a module lowered by `passes.pipeline`; buffers are aligned to ``alignment``.

    Raises UnsupportedError for a construct that a static program cannot hold.
    """
    return _Planner(module, alignment).run()


class _Planner:
    def __init__(self, module: tvm.IRModule, alignment: int) -> None:
        self._module, self._main = module, module["main"]
        self._plan = Plan(alignment=alignment)
        self._storage: dict[relax.Var, int] = {}
        self._refs: dict[relax.Var, Ref | list[Ref]] = {}
        self._weights: dict[bytes, int] = {}
        self._symbols: dict[int, list[tuple[tirx.PrimFunc, str]]] = {}
        self._outputs: list[relax.Var] = []

    def run(self) -> Plan:
        body = self._main.body
        for i, param in enumerate(self._main.params):
            self._refs[param] = Ref("input", i, tensor_type(param))
        bindings = [b for block in body.blocks for b in block.bindings]
        self._outputs = returned(body.body, {b.var: b.value for b in bindings})[0]
        for binding in bindings:
            self._bind(binding.var, binding.value)
        for index, var in enumerate(self._outputs):
            ref = self._tensor(var)
            if (ref.space, ref.offset) != ("output", index):
                self._plan.copies.append((index, ref))
        return self._plan

    def _bind(self, var: relax.Var, value: relax.Expr) -> None:
        if isinstance(value, relax.Tuple):
            self._refs[var] = [self._tensor(f) for f in value.fields]
        elif isinstance(value, relax.TupleGetItem):
            source = self._refs[value.tuple_value]
            assert isinstance(source, list)
            self._refs[var] = source[value.index]
        elif isinstance(value, relax.Var | tvm.ir.Constant):
            self._refs[var] = self._tensor(value)
        elif isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.GlobalVar):
            self._call(value)
        elif isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
            self._builtin(var, value)
        else:
            raise UnsupportedError(f"[plan] cannot compile {type(value).__name__} statically")

    def _builtin(self, var: relax.Var, call: relax.Call) -> None:
        name = str(call.op.name)
        if name == "relax.memory.alloc_storage":
            self._storage[var] = self._allocate(int(call.args[0].values[0]))
        elif name == "relax.memory.alloc_tensor":
            offset = self._storage[call.args[0]] + int(call.args[1].value)
            self._refs[var] = Ref("arena", offset, tensor_type(var))
        elif name == "relax.builtin.alloc_tensor":
            # a tensor that leaves the function: the caller's memory if it is an output itself
            t = tensor_type(var)
            index = next((i for i, o in enumerate(self._outputs) if o.same_as(var)), None)
            if index is None:
                self._refs[var] = Ref("arena", self._allocate(t.nbytes), t)
            else:
                self._refs[var] = Ref("output", index, t)
        elif name in ("relax.memory.kill_storage", "relax.memory.kill_tensor"):
            pass
        elif name == "relax.reshape":
            source = self._tensor(call.args[0])
            self._refs[var] = Ref(source.space, source.offset, tensor_type(var))
        else:
            raise UnsupportedError(
                f"[plan] operator {name} has no static form; its shapes must be known when building"
            )

    def _call(self, call: relax.Call) -> None:
        func = self._module[call.op]
        args = tuple(self._argument(a) for a in call.args)
        meta = KernelMeta.of_function(func)
        written = _written(func)
        outputs = tuple(a for a, w in zip(args, written, strict=True) if w and isinstance(a, Ref))
        sizes = sizes_of(func, call.args)
        if meta is None:
            multiplies, adds = count_arithmetic(func, sizes)
            name = call.op.name_hint
            meta = KernelMeta(name, "", len(outputs), multiplies, adds, scheduled=False)
        variables = size_variables(func)
        symbol = self._symbol(with_sizes(func, variables, call.op.name_hint), meta)
        given = tuple(sizes[v] for v in variables)
        self._plan.calls.append(KernelCall(symbol, args, outputs, meta, given))

    def _argument(self, expr: relax.Expr) -> Ref | Extent:
        """A tensor's bytes, or a number."""
        if isinstance(getattr(expr, "ty", None), tvm.ir.PrimType):
            return size_of(expr)
        return self._tensor(expr)

    def _symbol(self, func: tirx.PrimFunc, meta: KernelMeta) -> str:
        """C symbol of ``func``; functions that compute the same share one."""
        bare = func.without_attr(META_KEY) if func.attrs and META_KEY in func.attrs else func
        if "global_symbol" in bare.attrs:
            bare = bare.without_attr("global_symbol")
        same = self._symbols.setdefault(structural_hash(bare), [])
        for known, symbol in same:
            if structural_equal(known, bare):
                return symbol
        symbol = f"mjk_{len(self._plan.kernels)}_{meta.op}" + "_f16" * meta.half
        same.append((bare, symbol))
        self._plan.kernels[symbol] = bare
        return symbol

    def _tensor(self, expr: relax.Expr) -> Ref:
        if isinstance(expr, tvm.ir.Constant):
            array = np.ascontiguousarray(expr.value.numpy())
            t = TensorType(tuple(array.shape), str(array.dtype))
            return Ref("weights", self._weight(array.tobytes()), t)
        ref = self._refs[expr]
        assert isinstance(ref, Ref)
        return ref

    def _weight(self, data: bytes) -> int:
        """Offset of ``data`` in the blob; equal constants are stored once."""
        key = hashlib.sha256(data).digest()
        if key not in self._weights:
            blob = self._plan.weights
            blob.extend(bytes(align(len(blob), self._plan.alignment) - len(blob)))
            self._weights[key] = len(blob)
            blob.extend(data)
        return self._weights[key]

    def _allocate(self, size: int) -> int:
        offset = self._plan.planned_bytes
        self._plan.planned_bytes += align(size, self._plan.alignment)
        return offset


def _written(func: tirx.PrimFunc) -> list[bool]:
    """Which parameters the function writes, by the write regions of its blocks."""
    regions: list[Any] = []
    structural_walk(func.body, (s_tir.SBlock, lambda block: regions.extend(block.writes)))
    return [any(r.source.same_as(p) for r in regions) for p in func.params]
