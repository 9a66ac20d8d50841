"""Evaluate, with torch, every part of an exported program that depends on no input.

Folding here rather than in TVM takes milliseconds instead of compiling a kernel per constant, and
the folded weights are bit for bit what torch computes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.utils import _pytree as pytree


def fold_constants(program: torch.export.ExportedProgram) -> None:
    """Replace constant subgraphs of ``program`` by constant tensors, in place."""
    known = constant_values(program)
    constants = _evaluate(program, known)
    graph = program.graph
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    new_specs: list[InputSpec] = []
    for index, (node, value) in enumerate(constants.items()):
        if node.op == "placeholder" or not isinstance(value, torch.Tensor):
            continue
        if all(user in constants for user in node.users):
            continue  # only feeds other constants
        name = f"folded_{index}"
        with graph.inserting_before(placeholders[0]):
            constant = graph.placeholder(name)
        constant.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(constant)
        program.constants[name] = value.contiguous()
        new_specs.append(
            InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(constant.name), target=name)
        )
    program.graph_signature.input_specs = [*new_specs, *program.graph_signature.input_specs]
    graph.eliminate_dead_code()
    graph.lint()


def constant_values(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Placeholder name → value, for parameters, buffers and lifted constants."""
    stored: dict[str, Any] = {
        **program.constants,
        **dict(program.named_buffers()),
        **dict(program.named_parameters()),
    }
    return {
        spec.arg.name: stored[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.target in stored
    }


def _evaluate(
    program: torch.export.ExportedProgram, known: dict[str, torch.Tensor]
) -> dict[torch.fx.Node, Any]:
    """Values of all nodes that do not depend on a user input."""
    values: dict[torch.fx.Node, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in known:
            values[node] = known[node.name].detach()
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            if node.target is torch.ops.aten._assert_tensor_metadata.default:
                continue
            args, kwargs = pytree.tree_map_only(
                torch.fx.Node, values.__getitem__, (node.args, node.kwargs)
            )
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    return values
