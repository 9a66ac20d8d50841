"""A TensorFlow Lite graph, operator by operator → one Relax function."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from millijoule.converters.frontends.tflite.load import Loaded
from millijoule.converters.frontends.tflite.ops import LABELLED, REFUSED, known_ops
from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.converters.problems import OperatorsUnsupportedError, Problem
from millijoule.errors import UnsupportedError

_REMEDY = "export the model without it (`mj targets --ops tflite` lists what is supported)"


def import_graph(
    loaded: Loaded,
) -> tuple[tvm.IRModule, dict[str, str], dict[str, TensorType]]:
    """The module, its layers' names, and the outputs by name.

    UnsupportedError names the first operator that cannot be imported, its place, and all others.
    """
    problems = unsupported_operators(loaded)
    if problems:
        raise OperatorsUnsupportedError(loaded.path.name, problems, _REMEDY)
    import tflite
    from tvm.relax.frontend.tflite.tflite_frontend import ExprTable

    from millijoule.converters.frontends.tflite.converter import Converter

    model = tflite.Model.GetRootAsModel(loaded.data, 0)
    graph = model.Subgraphs(0)
    layers: dict[str, str] = {}
    builder = relax.BlockBuilder()
    table = ExprTable()
    params = [relax.Var(f"x{i}", relax_type(t)) for i, t in enumerate(loaded.inputs.values())]
    with builder.function("main", params=params):
        with builder.dataflow():
            for name, param in zip(loaded.inputs, params, strict=True):
                table.set_expr(name, param)
            converter = Converter(model, graph, table, builder)
            for index in range(graph.OperatorsLength()):
                _convert(converter, graph, index, layers, loaded)
            tensors = converter.get_tensors(graph.OutputsAsNumpy())
            results = [builder.emit(converter.get_tensor_expr(t)) for t in tensors]
            types = {n: tensor_type(r) for n, r in zip(loaded.outputs, results, strict=True)}
            out = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        builder.emit_func_output(out)
    return builder.get(), layers, types


def _convert(
    converter: Any, graph: Any, index: int, layers: dict[str, str], loaded: Loaded
) -> None:
    """Convert operator ``index`` and put its results into the table."""
    operator = graph.Operators(index)
    where = f"operator {index} of subgraph 0"
    try:
        name = converter.get_op_code_str(operator)
        where += f" ({name})"
        outputs = converter.get_output_tensors(operator)
        made = converter.convert_map[name](op=operator)
        if made is None:  # its result was evaluated and waits in a table of the converter's
            return
        made = converter.bb.normalize(made)
        parts = [made] if len(outputs) == 1 else [made[i] for i in range(len(outputs))]
        values = [converter.bb.emit(part) for part in parts]
    except Exception as error:  # TVM's conversions raise whatever came first
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnsupportedError(
            f"[{loaded.path.name}] {where} has a form that cannot be imported: {reason}; export "
            "the model with another operator there"
        ) from error
    for tensor, value in zip(outputs, values, strict=True):
        label = loaded.model.subgraphs[0].tensors[tensor.tensor_idx].name.decode()
        if name in LABELLED:
            layers[value.name] = label
        converter.exp_tab.set_expr(converter.name_of(tensor.tensor_idx), value, True)


def unsupported_operators(loaded: Loaded) -> list[Problem]:
    """Every operator that cannot be imported, in the graph's order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    table, problems = known_ops(), []
    for index, operator in enumerate(loaded.model.subgraphs[0].operators):
        code = loaded.model.operatorCodes[operator.opcodeIndex]
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")
        where = f"operator {index} of subgraph 0"
        if name == "CUSTOM":
            name_of_custom = (code.customCode or b"?").decode()
            problems.append(Problem(f"CUSTOM {name_of_custom}", where, REFUSED[name]))
        elif name not in table:
            problems.append(Problem(name, where, REFUSED.get(name, "")))
    return problems
