"""TVM's converter of operators with ours in front, and constants wherever a value is asked for."""

from __future__ import annotations

import functools
from typing import Any

from tvm import relax
from tvm.relax.frontend.tflite.tflite_frontend import (
    ExprTable,
    OperatorConverter,
    get_tensor_name,
)

from millijoule.converters.frontends.tflite.conversions import CONVERTERS


class Converter(OperatorConverter):
    """One import of a subgraph; ``convert_map`` has every conversion."""

    def __init__(self, model: Any, graph: Any, table: Any, builder: Any) -> None:
        super().__init__(model, graph, table, builder)
        for name, convert in CONVERTERS.items():
            self.convert_map[name] = functools.partial(_call, convert, self)

    def get_expr(self, input_tensor_idx: int) -> relax.Expr:
        """The value of a tensor, also of a constant, which TVM's own looks for in vain."""
        if not self.has_expr(input_tensor_idx):
            (tensor,) = self.get_tensors([input_tensor_idx])
            return self.get_tensor_expr(tensor)
        return super().get_expr(input_tensor_idx)

    def name_of(self, index: int) -> str:
        """The name under which the table holds a tensor."""
        return str(get_tensor_name(self.subgraph, index))


def _call(convert: Any, converter: Converter, op: Any) -> Any:
    return convert(converter, op)


def conversions() -> dict[str, Any]:
    """All conversions, not bound to any graph."""
    table: dict[str, Any] = Converter(None, None, ExprTable(), relax.BlockBuilder()).convert_map
    return table
