"""torch.export → Relax, with every vocabulary op kept whole.

Each call of a vocabulary op becomes a call of a private Relax function marked
``Composite = "mj.<op>"``, whose body calls the op's naive TIR. A target that has a kernel for the
op replaces the call; any other inlines the body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.relax.frontend.torch import from_exported_program

from millijoule.converters.fold import constant_values, fold_constants
from millijoule.converters.ops import VOCABULARY, TensorType, VocabularyOp
from millijoule.converters.ops.symbols import size_of, variable_of
from millijoule.converters.problems import OperatorsUnsupportedError, Problem
from millijoule.converters.torch_ops import CONVERTERS, REFUSED, Context, Convert, tvm_names
from millijoule.converters.torch_ops.context import SYMBOLS, dtype_of, shape_of
from millijoule.errors import MjError, UnsupportedError
from millijoule.sizes import Dim

COMPOSITE_PREFIX = "mj."
ATTRS_KEY = "mj.attrs"
LAYER_KEY = "mj.layer"
_REMEDY = "rewrite it with supported operators or add a conversion (docs/add-an-op.md)"
_NAME = "t_{}"  # of variables; later passes give theirs other names, so that labels stay right
# kept in one piece: their parts would have to be found and put together again
_WHOLE = (
    torch.ops.aten.linear.default,
    torch.ops.aten.matmul.default,
    torch.ops.aten.scaled_dot_product_attention.default,
)


def tensor_type(expr: relax.Expr) -> TensorType:
    """Type of a Relax tensor expression; sizes that vary are `millijoule.sizes.Size`."""
    return from_relax_type(expr.ty)


def from_relax_type(ty: relax.TensorType) -> TensorType:
    """The tensor type of a Relax type; the other way round is `relax_type`."""
    shape: tuple[Any, ...] = tuple(size_of(d) for d in ty.shape)
    return TensorType(shape, str(ty.dtype))


def relax_type(t: TensorType) -> relax.TensorType:
    """The Relax type of a tensor type."""
    return relax.TensorType(t.shape, t.dtype)


def layer_of(node: torch.fx.Node) -> str:
    """Dotted path of the innermost module that the node was traced in; "" at the top."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(stack.values()))[0]).removeprefix("L__self__") if stack else ""
    # Flat and StreamStep wrap the model in an attribute of their own; names are those of the model
    return "" if path == "model" else path.removeprefix("model.")


def import_program(
    program: torch.export.ExportedProgram, symbols: Mapping[str, Dim] | None = None
) -> tuple[tvm.IRModule, dict[str, str]]:
    """Relax module with one function ``main`` over the program's user inputs, and its layer names.

    The second result maps the name of the Relax variable that holds an operator's result to the
    dotted path of the torch module that the operator comes from. ``symbols``: what the program's
    symbolic sizes stand for, by torch's name of them.
    Raises UnsupportedError naming the operator and its source line if TVM cannot import one.
    """
    layers: dict[str, str] = {}
    program = program.run_decompositions(decompositions())
    _drop_assertions(program)
    _select_from_the_front(program)
    fold_constants(program)
    problems = unsupported_nodes(program)
    if problems:
        raise OperatorsUnsupportedError("import", problems, _REMEDY)
    context = Context(constants=constant_values(program))
    converters = {name: _checked(c, context, layers) for name, c in _conversions().items()}
    token = SYMBOLS.set(symbols or {})
    try:
        module = from_exported_program(
            program, custom_convert_map=converters, run_ep_decomposition=False
        )
    finally:
        SYMBOLS.reset(token)
    module = with_dims(module, symbols or {})
    return _renamed(module), {_NAME.format(name): layer for name, layer in layers.items()}


def with_dims(module: tvm.IRModule, symbols: Mapping[str, Dim]) -> tvm.IRModule:
    """``module`` with the variables of ``main``'s sizes, by name, as those of dimensions."""
    main = module["main"]
    found = {v.name: v for v in relax.analysis.defined_symbolic_vars(main)}
    unknown = found.keys() - symbols.keys()
    if unknown:
        raise UnsupportedError(
            f"[dynamic] the program has sizes that no input has: {', '.join(sorted(unknown))}"
        )
    if not found:
        return module
    dims = {found[name]: symbols[name] for name in found}
    main = main.bind_symbolic_vars({var: variable_of(d) for var, d in dims.items()})
    bounds = {d.name: (d.min, d.max) for d in dims.values()}
    main = main.with_attrs(
        {
            "tir_var_lower_bound": {name: low for name, (low, _) in bounds.items()},
            "tir_var_upper_bound": {name: high for name, (_, high) in bounds.items()},
        }
    )
    result = tvm.IRModule(dict(module.functions), attrs=module.attrs)
    result.update_func(result.get_global_var("main"), main)
    return result


@mutator
class _Renaming(PyExprMutator):
    """Gives every variable inside a function a name that no later pass gives."""

    def visit_var_def_(self, var: relax.Var) -> relax.Var:
        return self._new(relax.Var, var)

    def visit_dataflow_var_def_(self, var: relax.DataflowVar) -> relax.Var:
        return self._new(relax.DataflowVar, var)

    def _new(self, kind: Any, var: relax.Var) -> relax.Var:
        new = kind(_NAME.format(var.name), var.ty)
        self.set_var_remap(var, new)
        return new


def _renamed(module: tvm.IRModule) -> tvm.IRModule:
    main = module["main"]
    inside = _Renaming(module)
    body = inside.visit_expr(main.body)
    names = relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
    result = tvm.IRModule(dict(module.functions), attrs=module.attrs)
    result.update_func(result.get_global_var("main"), names)
    return result


def decompositions() -> dict[Any, Callable[..., Any]]:
    """What torch takes apart before the import: all but the core operators and some whole ones."""
    table: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    for whole in _WHOLE:
        table.pop(whole, None)
    return table


def unsupported_nodes(program: torch.export.ExportedProgram) -> list[Problem]:
    """Every operator of a decomposed program that cannot be imported, in the program's order."""
    known = tvm_names() | CONVERTERS.keys() | {f"{op.name}.default" for op in VOCABULARY.values()}
    problems = []
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        name = node.target.__name__
        if name in REFUSED:
            problems.append(Problem(name, where_of(node), REFUSED[name]))
        elif name not in known:
            problems.append(Problem(name, where_of(node), ""))
    return problems


def where_of(node: torch.fx.Node) -> str:
    """File and line that a node was traced from, or its module's path."""
    frames = [line for line in (node.stack_trace or "").splitlines() if "File" in line]
    return frames[-1].strip() if frames else f"module {layer_of(node) or 'top level'}"


def _drop_assertions(program: torch.export.ExportedProgram) -> None:
    """Leave out tests of values: a program that is only kernels has nobody to tell."""
    for node in reversed(program.graph.nodes):
        name = getattr(node.target, "__name__", "")
        if name.startswith(("_assert_async.", "_assert_scalar.")) and not node.users:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()


def _select_from_the_front(program: torch.export.ExportedProgram) -> None:
    """Make negative indices of ``select`` positive: TVM would read in front of the tensor."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.select.int and node.args[2] < 0:
            source, axis, index = node.args
            size = source.meta["val"].shape[axis]
            if isinstance(size, torch.SymInt):
                raise UnsupportedError(
                    f"[import] operator {node.target.__name__} ({where_of(node)}) counts from the "
                    "end of a dynamic axis; select from its front, or build for a fixed size"
                )
            node.args = (source, axis, index + size)


def _conversions() -> dict[str, Convert]:
    """Every conversion by the name of the torch operator: the vocabulary's, ours, TVM's."""
    return {
        **{name: _by_tvm(name) for name in tvm_names()},
        **CONVERTERS,
        **{f"{op.name}.default": _vocabulary(op) for op in VOCABULARY.values()},
    }


def _by_tvm(name: str) -> Convert:
    """TVM's own conversion of ``name``."""

    def convert(node: torch.fx.Node, context: Context) -> Any:
        return context.tvm_converters()[name](node)

    return convert


def _checked(
    convert: Convert, context: Context, layers: dict[str, str]
) -> Callable[[torch.fx.Node, Any], Any]:
    """``convert`` with errors that say where, a check against torch, and the layer's name noted."""

    def run(node: torch.fx.Node, importer: Any) -> Any:
        context.importer = importer
        try:
            result = convert(node, context)
        except MjError as error:
            raise UnsupportedError(f"[import] {where_of(node)}: {error}") from error
        except Exception as error:  # TVM's conversions raise whatever came first
            raise UnsupportedError(
                f"[import] operator {node.target.__name__} ({where_of(node)}) has a form that "
                f"cannot be imported: {error or type(error).__name__}; rewrite it"
            ) from error
        _compare(node, result)
        if isinstance(result, relax.Var):
            layers[result.name] = layer_of(node)
        return result

    return run


def _compare(node: torch.fx.Node, result: Any) -> None:
    """UnsupportedError if a conversion's type is not the one that torch gives the node."""
    expected = node.meta.get("val")
    if not isinstance(expected, torch.Tensor) or not isinstance(result, relax.Expr):
        return
    ty = result.ty
    if not isinstance(ty, relax.TensorType) or ty.shape is None:
        return
    shape = tuple(int(d) if isinstance(d, tvm.tirx.IntImm | int) else None for d in ty.shape)
    wanted = tuple(d if isinstance(d, int) else None for d in expected.shape)
    dtype = str(expected.dtype).removeprefix("torch.")
    same = len(shape) == len(wanted) and all(
        a == b for a, b in zip(shape, wanted, strict=True) if a is not None and b is not None
    )
    if not same or str(ty.dtype) != dtype:
        raise UnsupportedError(
            f"[import] operator {node.target.__name__} ({where_of(node)}) imports as "
            f"{list(shape)} {ty.dtype}, but torch computes {list(wanted)} {dtype}; "
            "rewrite it with supported operators"
        )


def _vocabulary(op: VocabularyOp) -> Convert:
    def convert(node: torch.fx.Node, context: Context) -> relax.Var:
        importer = context.importer
        n_tensors = len(node.args) - len(op.attr_names)
        attrs = dict(zip(op.attr_names, node.args[n_tensors:], strict=True))
        given = [a for a in node.args[:n_tensors] if a is not None]
        types = [TensorType(shape_of(a), dtype_of(a)) for a in given]
        operands = [importer.env[a] for a in given]
        return emit_composite(importer.block_builder, op, attrs, operands, layer_of(node), types)

    return convert


def emit_composite(
    builder: relax.BlockBuilder,
    op: VocabularyOp,
    attrs: dict[str, Any],
    operands: Sequence[relax.Expr],
    layer: str,
    types: Sequence[TensorType] | None = None,
) -> relax.Var:
    """Emit one call of ``op`` and return its result (a tuple if the op has several).

    ``types``: of the operands, where their Relax types have sizes that are no dimensions yet.
    """
    types = types or [tensor_type(operand) for operand in operands]
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
