"""Which operators a target has, and whether it has all of a model's.

Relax operators, by name without ``relax.``, and vocabulary ops as ``mj.<op>``. For a CPU each is

- ``kernel``: a kernel of ours (where shapes and constants allow it, else ``generated``),
- ``generated``: a loop nest that TVM generates, correct and, on CPUs, unscheduled,
- ``free``: no code at all: a view, or a value at build time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import tvm
from tvm import relax

from millijoule.converters.importer import COMPOSITE_PREFIX
from millijoule.converters.model import Model
from millijoule.converters.ops import VOCABULARY
from millijoule.converters.problems import Problem
from millijoule.errors import UnsupportedError
from millijoule.targets.target import Target, get_target

_KERNELS = (
    "argsort", "concat", "cumprod", "cumsum", "erf", "matmul", "nn.avg_pool2d", "nn.conv1d",
    "nn.conv2d", "nn.gelu", "nn.group_norm", "nn.layer_norm", "nn.max_pool2d",
    "scatter_elements", "scatter_nd", "sort", "topk",
)  # fmt: skip
_CUDA_KERNELS = (
    "argsort", "cumprod", "cumsum", "matmul", "nn.conv1d", "nn.conv2d", "scatter_elements",
    "scatter_nd", "sort", "topk",
)  # fmt: skip
_FREE = ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")
# legalised by TVM, but into code that is not static or calls its run-time library
_NOT_STATIC = (
    "assert_op", "bucketize", "dynamic_strided_slice", "index_put", "multinomial_from_uniform",
    "nonzero", "null_value", "print", "shape_of", "shape_to_tensor", "size", "tensor_to_shape",
    "unique",
)  # fmt: skip
_INTERNAL = ("builtin.", "call_", "ccl.", "dist.", "grad.", "hint_on", "inspect.", "invoke_",
             "make_", "memory.", "to_vdevice", "vm.", "vision.", "wrap_")  # fmt: skip
# kind of graph → the package with the format's TABLE of emitters
_EMITTERS = {
    "mlprogram": "millijoule.targets.coreml.emit",
    "onnx": "millijoule.targets.onnx",
    "tflite": "millijoule.targets.litert.emit",
}


@dataclass(frozen=True)
class Use:
    """An operator of a model: how often it is called, and what the target has for it."""

    operator: str
    count: int
    support: str


@dataclass
class Check:
    """The result of `check_model`; ``problems`` is empty if the target can hold the model."""

    uses: list[Use] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    kernels: int = 0
    unscheduled: int = 0


def operators(target: str) -> dict[str, str]:
    """Operator → support of a target, sorted; UsageError for an unknown target."""
    chosen = get_target(target)
    if chosen.is_cuda:
        return _cuda_operators()
    return dict(_graph_operators(chosen) if chosen.is_graph else _cpu_operators())


@cache
def _cpu_operators() -> dict[str, str]:
    from millijoule.targets.kernels import CPU_KERNELS

    table = dict.fromkeys(_legalised(), "generated")
    table |= dict.fromkeys(_KERNELS, "kernel") | dict.fromkeys(_FREE, "free")
    table |= {
        COMPOSITE_PREFIX + name: "kernel" if name in CPU_KERNELS else "generated"
        for name in VOCABULARY
    }
    return dict(sorted(table.items()))


def _cuda_operators() -> dict[str, str]:
    from millijoule.targets.kernels.gpu import GPU_KERNELS

    # what only CPUs have a kernel for runs as that kernel's plain form, or in one thread
    table = dict.fromkeys((*_legalised(), *_KERNELS), "generated")
    table |= dict.fromkeys(_CUDA_KERNELS, "kernel") | dict.fromkeys(_FREE, "free")
    table |= {
        COMPOSITE_PREFIX + name: "kernel" if name in GPU_KERNELS else "generated"
        for name in VOCABULARY
    }
    return dict(sorted(table.items()))


def _legalised() -> Iterator[str]:
    """Relax operators with a static form in TIR."""
    for full in map(str, tvm.ir.Op.list_op_names()):
        name = full.removeprefix("relax.")
        if not full.startswith("relax.") or name.startswith(_INTERNAL) or name in _NOT_STATIC:
            continue
        if tvm.ir.Op.get(full).get_attr("FLegalize") is not None:
            yield name


def _graph_operators(target: Target) -> dict[str, str]:
    from millijoule.targets.graph.forms import FORMS

    emitters = import_module(_EMITTERS[target.kind]).TABLE
    table = {name.removeprefix("relax."): "graph" for name in emitters}
    table |= {COMPOSITE_PREFIX + name: "graph" for name in FORMS}
    return dict(sorted(table.items()))


def check_model(model: Model, target: str) -> Check:
    """Every operator of ``model`` against the target's table; nothing is compiled.

    For a CPU the model is also lowered as far as to its list of kernels. UsageError for an unknown
    target.
    """
    chosen = get_target(target)
    table = operators(target)
    calls = list(_calls(model.module))
    counts = Counter(name for name, _ in calls)
    result = Check([Use(n, c, table.get(n, "missing")) for n, c in sorted(counts.items())])
    seen = set()
    for name, var in calls:
        if name not in table and (name, var) not in seen:
            seen.add((name, var))
            layer = model.layers.get(var, "")
            where = f"layer {layer}" if layer else f"value {var}"
            result.problems.append(Problem(name, where, f"{target} has no form of it"))
    if not result.problems and not chosen.is_graph:
        _lower(model, chosen, result)
    return result


def _lower(model: Model, target: Target, result: Check) -> None:
    """Count the kernels; a form that the passes refuse becomes a problem."""
    from millijoule.targets.cpu.plan import make_plan
    from millijoule.targets.jetson.pipeline import lower_for_cuda
    from millijoule.targets.passes.pipeline import lower_for_cpu

    lower = lower_for_cuda if target.is_cuda else lower_for_cpu
    try:
        plan = make_plan(lower(model.module, target, model.layers), target.alignment)
    except UnsupportedError as error:
        result.problems.append(Problem("program", target.name, str(error)))
        return
    result.kernels = len(plan.calls)
    result.unscheduled = sum(not call.meta.scheduled for call in plan.calls)


def _calls(module: tvm.IRModule) -> Iterator[tuple[str, str]]:
    """Operator and variable of every call in ``main``, also inside of other expressions."""
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            found: list[str] = []

            def visit(expr: Any, found: list[str] = found) -> None:
                if isinstance(expr, relax.Call):
                    found.extend(_name(expr, module))

            relax.analysis.post_order_visit(binding.value, visit)
            for name in found:
                yield name, str(binding.var.name)


def _name(call: relax.Call, module: tvm.IRModule) -> list[str]:
    if isinstance(call.op, tvm.ir.Op):
        return [str(call.op.name).removeprefix("relax.")]
    function = module[call.op] if isinstance(call.op, tvm.ir.GlobalVar) else None
    if function is not None and function.attrs and "Composite" in function.attrs:
        return [str(function.attrs["Composite"])]
    return []
