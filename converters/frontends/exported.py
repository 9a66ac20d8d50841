"""torch.export with dynamic axes: tracing, types of results, and samples of other sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.results import repeat_rows
from millijoule.converters.importer import tensor_type
from millijoule.converters.model import Named
from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.sizes import Dim

_LEAST = 2  # torch.export takes an axis of one element for a constant


def trace(
    module: nn.Module, tensors: Mapping[str, Tensor], dynamic: Dynamic, name: str
) -> tuple[torch.export.ExportedProgram, dict[str, Dim]]:
    """The exported program of ``module(*tensors)``, and what torch's symbols stand for.

    UnsupportedError for what cannot be traced, or not with these axes dynamic; UsageError for axes
    that are not there.
    """
    dynamic.check({n: x.shape for n, x in tensors.items()})
    inputs = tuple(_resized(x, n, dynamic, _LEAST) for n, x in tensors.items())
    shapes = _torch_dims(tensors, dynamic) if dynamic else None
    try:
        with torch.no_grad():
            program = torch.export.export(module, inputs, dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises many kinds, all with long explanations
        if dynamic:
            dims = ", ".join(map(str, dynamic.dims.values()))
            raise UnsupportedError(
                f"[dynamic] torch.export cannot trace {name} for {dims}: {_reason(error)}; write "
                "forward so that it holds for every size, or change the bounds"
            ) from error
        raise UnsupportedError(
            f"[module] torch.export cannot trace {name}: {first_line(error)}; write forward "
            "without control flow that depends on the values of tensors"
        ) from error
    return program, _symbols(program, list(tensors), dynamic)


def _torch_dims(tensors: Mapping[str, Tensor], dynamic: Dynamic) -> tuple[tuple[Any, ...], ...]:
    """``dynamic_shapes`` of torch.export for a module that takes ``*inputs``."""
    dims = {
        d.name: torch.export.Dim(d.name, min=d.min, max=d.max)
        for d in dynamic.dims.values()
        if d.min < d.max
    }
    places = {place: dims.get(d.name) for place, d in dynamic.places.items()}
    one = tuple(
        {axis: dim for (name, axis), dim in places.items() if name == n and dim is not None}
        for n in tensors
    )
    return (one,)


def _symbols(
    program: torch.export.ExportedProgram, names: list[str], dynamic: Dynamic
) -> dict[str, Dim]:
    """torch's symbol of every dynamic axis → its dimension."""
    users = set(program.graph_signature.user_inputs)
    nodes = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in users]
    found = {}
    for (name, axis), dim in dynamic.places.items():
        size = nodes[names.index(name)].meta["val"].shape[axis]
        if isinstance(size, torch.SymInt):
            found[str(size.node.expr)] = dim
    return found


def output_types(outputs: Mapping[str, Tensor], module: tvm.IRModule) -> tuple[Named, ...]:
    """Names with the types that the imported program gives."""
    ty = module["main"].ret_ty
    fields = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
    return tuple(
        (name, TensorType(_shape(field), str(y.dtype).removeprefix("torch.")))
        for (name, y), field in zip(outputs.items(), fields, strict=True)
    )


def _shape(ty: relax.TensorType) -> tuple[int, ...]:
    return tensor_type(relax.Var("y", ty)).shape


def other_sizes(tensors: Mapping[str, Tensor], dynamic: Dynamic) -> Iterator[dict[str, Tensor]]:
    """The examples with every dynamic axis at its smallest, then at its largest size."""
    now = {d: tensors[n].shape[a] for (n, a), d in dynamic.places.items()}
    for pick in (lambda d: d.min, lambda d: d.max):
        if dynamic and any(pick(d) != size for d, size in now.items()):
            yield {
                n: _at(x, n, {place: pick(d) for place, d in dynamic.places.items()})
                for n, x in tensors.items()
            }


def within(tensors: Mapping[str, Tensor], dynamic: Dynamic) -> dict[str, Tensor]:
    """The examples with every dynamic axis cut, or repeated, to within its bounds."""
    sizes = {
        (n, axis): min(max(tensors[n].shape[axis], dim.min), dim.max)
        for (n, axis), dim in dynamic.places.items()
        if n in tensors and axis in range(tensors[n].dim())
    }
    return {n: _at(x, n, sizes) for n, x in tensors.items()}


def _at(x: Tensor, name: str, sizes: Mapping[tuple[str, int], int]) -> Tensor:
    for axis in range(x.dim()):
        size = sizes.get((name, axis), x.shape[axis])
        if size != x.shape[axis]:
            x = repeat_rows(x, size, axis)
    return x


def _resized(x: Tensor, name: str, dynamic: Dynamic, least: int) -> Tensor:
    """``x`` with at least ``least`` entries along dynamic axes that may have as many."""
    places = dynamic.places.items()
    return _at(
        x,
        name,
        {p: max(x.shape[p[1]], min(least, d.max)) for p, d in places if p[0] == name},
    )


def _reason(error: Exception) -> str:
    """The line of torch's long explanation that says what is wrong."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    told = [line for line in lines if "specialized" in line or "constraint" in line.lower()]
    return " ".join((told[-1] if told else first_line(error)).split())[:300]


def first_line(error: Exception) -> str:
    """The first line that says something, else the kind of the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
