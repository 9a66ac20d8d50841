"""From a converted model to a graph that a format can write: what every format does first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import tvm

from millijoule.converters.importer import tensor_type
from millijoule.converters.model import Model, Named
from millijoule.targets.graph.expand import expand
from millijoule.targets.graph.forms import FORMS, Form
from millijoule.targets.graph.node import Emitter, Table, Written
from millijoule.targets.graph.support import check, check_precision
from millijoule.targets.graph.walk import walk


@dataclass(frozen=True)
class Prepared:
    """A model in ordinary operators, each of which the format's ``table`` has.

    ``states``: as the graph holds them. ``inputs`` and ``outputs`` are the graph's, in order: the
    model's own, then what is shown besides, then states as ``state:<name>`` and ``next:<name>``.
    """

    module: tvm.IRModule
    layers: Mapping[str, str]
    table: Table
    inputs: tuple[Named, ...]
    outputs: tuple[str, ...]
    states: tuple[Named, ...]

    def emit(self, emitter: Emitter) -> tuple[Written, ...]:
        """Write everything into ``emitter``; what was written for every operator."""
        written: list[Written] = []
        main = self.module["main"]
        params = [emitter.input(name, t) for name, t in self.inputs]
        results = walk(self.module, main, self.layers, params, emitter, self.table, written)
        for name, value in zip(self.outputs, results, strict=True):
            emitter.output(name, value)
        return tuple(written)


def prepare(
    model: Model,
    table: Table,
    precision: str,
    target: str,
    show: Collection[str] = (),
    forms: Mapping[str, Form] = FORMS,
) -> Prepared:
    """Expand the vocabulary and check every operator.

    Args:
        model: float32; not quantized.
        table: the format's.
        precision: "float32" or "float16", what the graph will calculate in.
        target: whose name errors carry.
        show: vocabulary ops (``lif``) whose taps (``spikes:<layer>``) become outputs, too, as
            float32, under the names that the model publishes them by.
        forms: what vocabulary ops become.

    Raises UnsupportedError that names what has no form, before anything is written.
    """
    check_precision(model.module, precision, target)
    count = len(model.inputs)
    expanded = expand(
        model.module, model.layers, first_state=count, show=show, target=target, forms=forms
    )
    module = expanded.module
    check(module, table, expanded.layers, target)
    params = module["main"].params
    states = tuple(
        (name, tensor_type(param))
        for (name, _), param in zip(model.states, params[count:], strict=True)
    )
    return Prepared(
        module=module,
        layers=expanded.layers,
        table=table,
        inputs=(*model.inputs, *((f"state:{name}", t) for name, t in states)),
        outputs=(
            *(name for name, _ in model.outputs),
            *(model.aliases.get(tap, tap) for tap in expanded.shown),
            *(f"next:{name}" for name, _ in states),
        ),
        states=states,
    )
