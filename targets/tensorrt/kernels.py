"""Vocabulary operators of a graph → CUDA kernels, machine code for every GPU, and launch tables.

An operator is lowered alone, as the Jetson targets lower it (`jetson.pipeline`), once with the
one-bit tensor cores of compute capability 8.0 to 8.9 and once without. Kernels that several
operators share are compiled once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm_ffi import structural_equal, structural_hash

from millijoule.converters.importer import COMPOSITE_PREFIX, emit_composite, relax_type
from millijoule.converters.ops import VOCABULARY
from millijoule.errors import UnsupportedError
from millijoule.targets.cpu.plan import Plan, Ref, align, make_plan
from millijoule.targets.graph import Node, Value
from millijoule.targets.jetson.cuda import cuda_source, cuda_target
from millijoule.targets.jetson.multiprocessor import multiprocessor
from millijoule.targets.jetson.nvrtc import compile_cubin
from millijoule.targets.jetson.pipeline import lower_for_cuda
from millijoule.targets.target import GPU, GPU_BIT_MMA, STATIC_CUDA, Isa, Target

SMS = (75, 80, 86, 87, 89, 90, 110, 120)  # GPUs that TensorRT runs on and NVRTC compiles for
FOLDER = "program/plugins"
TABLE = f"{FOLDER}/kernels.json"
_ALIGNMENT = 256  # of buffers in the workspace and among the weights, as TensorRT's own


@dataclass(frozen=True)
class _Variant:
    """How kernels are made for some of the GPUs."""

    name: str
    isa: Isa
    sms: tuple[int, ...]

    @property
    def target(self) -> Target:
        """What passes ask about; the host program is TensorRT's."""
        name = f"tensorrt-{self.name}"
        return Target(name, STATIC_CUDA, "", "", self.isa, "", "", "", _ALIGNMENT, sm=self.sms[0])


_VARIANTS = (
    _Variant("mma", GPU_BIT_MMA, tuple(sm for sm in SMS if multiprocessor(sm).bit_mma)),
    _Variant("popc", GPU, tuple(sm for sm in SMS if not multiprocessor(sm).bit_mma)),
)


@dataclass
class _Kernels:
    """Functions of one variant by symbol, each once."""

    functions: dict[str, tirx.PrimFunc] = field(default_factory=dict)
    _known: dict[int, list[str]] = field(default_factory=dict)

    def symbol(self, func: tirx.PrimFunc, op: str) -> str:
        """The symbol of ``func``."""
        same = self._known.setdefault(structural_hash(func), [])
        for symbol in same:
            if structural_equal(self.functions[symbol], func):
                return symbol
        symbol = f"mjp_{len(self.functions)}_{op}"
        same.append(symbol)
        self.functions[symbol] = func
        return symbol


@dataclass(frozen=True)
class _Entry:
    """An operator: its node and, by variant, its plan and where its weights begin."""

    node: Node
    plans: Mapping[str, tuple[Plan, Mapping[str, str], int]]


class KernelTable:
    """Collects operators of one graph; `files` compiles them."""

    def __init__(self) -> None:
        self._kernels = {v.name: _Kernels() for v in _VARIANTS}
        self._entries: dict[str, _Entry] = {}

    @property
    def ops(self) -> tuple[str, ...]:
        """Vocabulary op of every entry, in order."""
        return tuple(e.node.op.removeprefix(COMPOSITE_PREFIX) for e in self._entries.values())

    def add(self, node: Node) -> tuple[str, np.ndarray]:
        """Lower the operator ``node``; name of its entry, and its weights as int32 [words].

        Raises UnsupportedError for one whose results are no kernel's.
        """
        module = _module(node)
        weights = bytearray()
        begins: dict[bytes, int] = {}
        plans = {}
        for variant in _VARIANTS:
            plan = make_plan(lower_for_cuda(module, variant.target, {}), _ALIGNMENT)
            if plan.copies:
                raise UnsupportedError(f"[plugins] {node.op} of layer {node.layer!r} is only moved")
            blob = bytes(plan.weights)
            if blob not in begins:
                begins[blob] = align(len(weights), _ALIGNMENT)
                weights.extend(bytes(begins[blob] - len(weights)))
                weights.extend(blob)
            kernels = self._kernels[variant.name]
            names = {
                call.symbol: kernels.symbol(plan.kernels[call.symbol], call.meta.op)
                for call in plan.calls
            }
            plans[variant.name] = plan, names, begins[blob]
        name = f"n{len(self._entries)}"
        self._entries[name] = _Entry(node, plans)
        weights.extend(bytes(max(align(len(weights), 4), 4) - len(weights)))
        return name, np.frombuffer(bytes(weights), np.int32)

    def files(self, progress: Callable[[str], None]) -> dict[str, bytes]:
        """Members of the bundle: machine code for every GPU, its source, and the table."""
        files: dict[str, bytes] = {}
        devices = {}
        variants = {}
        for variant in _VARIANTS:
            functions = self._kernels[variant.name].functions
            progress(f"compiling {len(functions)} kernels for {len(variant.sms)} GPUs")
            source = cuda_source(functions, cuda_target(variant.sms[0]))
            files[f"{FOLDER}/{variant.name}.cu"] = source.code.encode()
            for sm in variant.sms:
                member = f"{FOLDER}/sm_{sm}.cubin"
                files[member] = compile_cubin(source.code, sm).code
                digest = hashlib.sha256(files[member]).hexdigest()
                devices[str(sm)] = {"code": member, "sha256": digest, "variant": variant.name}
            variants[variant.name] = {
                name: _launches(entry, variant.name, source.functions)
                for name, entry in self._entries.items()
            }
        table = {"entries": self._described(), "launches": variants, "devices": devices}
        files[TABLE] = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
        return files

    def _described(self) -> dict[str, Any]:
        """What TensorRT asks about every entry."""
        return {
            name: {
                "op": entry.node.op.removeprefix(COMPOSITE_PREFIX),
                "layer": entry.node.layer,
                "inputs": [*(v.type.dtype for v in _variables(entry.node)), "int32"],
                "outputs": [{"shape": list(t.shape), "dtype": t.dtype} for t in entry.node.results],
            }
            for name, entry in self._entries.items()
        }


def _variables(node: Node) -> list[Value]:
    """Operands that are calculated; the rest are constants."""
    return [a for a in node.args if isinstance(a, Value)]


def _module(node: Node) -> Any:
    """A module whose ``main`` is the one operator, over its calculated operands."""
    builder = relax.BlockBuilder()
    operands: list[relax.Expr] = []
    for index, arg in enumerate(node.args):
        if isinstance(arg, Value):
            operands.append(relax.Var(f"x{index}", relax_type(arg.type)))
        else:
            operands.append(relax.const(np.ascontiguousarray(arg)))
    params = [o for o in operands if isinstance(o, relax.Var)]
    op = VOCABULARY[node.op.removeprefix(COMPOSITE_PREFIX)]
    with builder.function("main", params):
        with builder.dataflow():
            result = emit_composite(builder, op, dict(node.attrs), operands, node.layer)
            out = builder.emit_output(result)
        builder.emit_func_output(out)
    return builder.get()


def _launches(entry: _Entry, variant: str, functions: Mapping[str, Any]) -> dict[str, Any]:
    """Launches of one operator and the workspace they need, in bytes."""
    plan, names, begin = entry.plans[variant]
    launches = []
    workspace = align(plan.planned_bytes, _ALIGNMENT)
    most = workspace
    for call in plan.calls:
        made = functions[names[call.symbol]]
        places = [_place(ref, begin) for ref in call.args if isinstance(ref, Ref)]
        end = workspace
        for size in made.scratch:
            places.append(["workspace", end])
            end += align(size, _ALIGNMENT)
        most = max(most, end)
        launches += [
            {
                "kernel": launch.kernel,
                "grid": list(launch.grid),
                "block": list(launch.block),
                "shared": launch.shared,
                "arguments": [places[i] for i in launch.arguments],
            }
            for launch in made.calls
        ]
    return {"workspace": most, "launches": launches}


def _place(ref: Ref, begin: int) -> Sequence[Any]:
    """Where an argument lies: number of an input or output, byte of the workspace or weights."""
    if ref.space == "weights":
        return ["weights", begin + ref.offset]
    return ["workspace" if ref.space == "arena" else ref.space, ref.offset]
