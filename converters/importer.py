"""torch.export → Relax, with every vocabulary op kept whole.

Each call of a vocabulary op becomes a call of a private Relax function marked
``Composite = "mj.<op>"``, whose body calls the op's naive TIR. A target that has a kernel for the
op replaces the call; any other inlines the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from millijoule.converters.fold import fold_constants
from millijoule.converters.ops import VOCABULARY, TensorType, VocabularyOp
from millijoule.errors import UnsupportedError

COMPOSITE_PREFIX = "mj."
ATTRS_KEY = "mj.attrs"
LAYER_KEY = "mj.layer"
_LABELLED = (
    "linear.default",
    "convolution.default",
    "matmul.default",
    "mm.default",
    "addmm.default",
)


def tensor_type(expr: relax.Expr) -> TensorType:
    """Static type of a Relax tensor expression."""
    return TensorType(tuple(int(d) for d in expr.ty.shape), str(expr.ty.dtype))


def relax_type(t: TensorType) -> relax.TensorType:
    """The Relax type of a static tensor type."""
    return relax.TensorType(t.shape, t.dtype)


def layer_of(node: torch.fx.Node) -> str:
    """Dotted path of the innermost module that the node was traced in; "" at the top."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    # StreamStep wraps the model in an attribute of its own; names are those of the model
    return str(path).removeprefix("L__self__").removeprefix("model.").removeprefix("model")


def import_program(program: torch.export.ExportedProgram) -> tuple[tvm.IRModule, dict[str, str]]:
    """Relax module with one function ``main`` over the program's user inputs, and its layer names.

    The second result maps names of Relax variables that hold results of linear layers and
    convolutions to the dotted path of the torch module that they come from.
    Raises UnsupportedError naming the operator and its source line if TVM cannot import one.
    """
    layers: dict[str, str] = {}
    converters = {f"{op.name}.default": _converter(op) for op in VOCABULARY.values()}
    converters |= {name: _labelled(name, layers) for name in _LABELLED}
    table = torch.export.default_decompositions()
    table.pop(torch.ops.aten.linear.default, None)  # keep linear layers in one piece
    program = program.run_decompositions(table)
    _select_from_the_front(program)
    fold_constants(program)
    try:
        module = from_exported_program(
            program, custom_convert_map=converters, run_ep_decomposition=False
        )
    except (AssertionError, NotImplementedError, KeyError) as error:
        raise UnsupportedError(_explain(program, error)) from error
    return module, layers


def _select_from_the_front(program: torch.export.ExportedProgram) -> None:
    """Make negative indices of ``select`` positive: TVM would read in front of the tensor."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.select.int and node.args[2] < 0:
            source, axis, index = node.args
            node.args = (source, axis, index + source.meta["val"].shape[axis])


def _labelled(name: str, layers: dict[str, str]) -> Callable[[torch.fx.Node, Any], relax.Var]:
    """TVM's own converter of ``name``, noting which layer its result belongs to."""

    def convert(node: torch.fx.Node, importer: Any) -> relax.Var:
        var = importer.create_convert_map()[name](node)
        layers[var.name] = layer_of(node)
        return var

    return convert


def _explain(program: torch.export.ExportedProgram, error: Exception) -> str:
    """One line: which operator, where in the user's source, and what to do."""
    unknown = re.findall(r"[\w.]+\.(?:default|Tensor|Scalar|int|dim\w*)", str(error))
    for node in program.graph.nodes:
        name = getattr(node.target, "__name__", "")
        if node.op == "call_function" and name in unknown:
            frames = [line for line in (node.stack_trace or "").splitlines() if "File" in line]
            where = frames[-1].strip() if frames else f"module {layer_of(node) or 'top level'}"
            return (
                f"[import] operator {name} is not supported ({where}); "
                "rewrite it with supported operators or add a conversion (docs/add-an-op.md)"
            )
    return f"[import] TVM could not import the program: {str(error) or type(error).__name__}"


def _converter(op: VocabularyOp) -> Callable[[torch.fx.Node, Any], relax.Var]:
    def convert(node: torch.fx.Node, importer: Any) -> relax.Var:
        n_tensors = len(node.args) - len(op.attr_names)
        attrs = dict(zip(op.attr_names, node.args[n_tensors:], strict=True))
        operands = [importer.env[a] for a in node.args[:n_tensors] if a is not None]
        return emit_composite(importer.block_builder, op, attrs, operands, layer_of(node))

    return convert


def emit_composite(
    builder: relax.BlockBuilder,
    op: VocabularyOp,
    attrs: dict[str, Any],
    operands: Sequence[relax.Expr],
    layer: str,
) -> relax.Var:
    """Emit one call of ``op`` and return its result (a tuple if the op has several)."""
    types = [tensor_type(operand) for operand in operands]
    results = [relax_type(t) for t in op.results(attrs, types)]
    naive = builder.add_func(op.naive(attrs, types), f"{op.name}_naive")
    params = [relax.Var(f"a{i}", relax_type(t)) for i, t in enumerate(types)]
    out: Any = results[0] if len(results) == 1 else results
    body = relax.Var("y", results[0] if len(results) == 1 else relax.TupleType(results))
    call = relax.call_tir(naive, params, out)
    block = relax.BindingBlock([relax.VarBinding(body, call)])
    function = relax.Function(params, relax.SeqExpr([block], body), body.ty, is_pure=True)
    function = function.with_attrs(
        {
            "Composite": COMPOSITE_PREFIX + op.name,
            ATTRS_KEY: json.dumps(attrs, sort_keys=True),
            LAYER_KEY: layer,
        }
    )
    composite = builder.add_func(function, f"mj_{op.name}")
    return builder.emit(relax.Call(composite, list(operands)))
