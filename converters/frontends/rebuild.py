"""A module with snnTorch neurons → `SpikingNet`, checked against the module itself."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from millijoule.converters.frontends.network import Op, Output, Ref, SpikingNet
from millijoule.converters.frontends.neurons import Neurons, NeuronSpec, rebuilt_layer
from millijoule.converters.frontends.nodes import (
    MEMBRANE,
    SYNAPSE,
    Folded,
    Info,
    Step,
    live,
    recorded,
    refuse,
)
from millijoule.converters.frontends.results import named_outputs
from millijoule.converters.frontends.snntorch_neurons import STATES, fresh_copy, is_neuron, kind_of
from millijoule.converters.frontends.trace import VALUE, ValueTracer
from millijoule.converters.frontends.unroll import Folder
from millijoule.errors import UnsupportedError

_AGREEMENT = 1e-6  # of outputs in float64, relative to the largest


@dataclass(frozen=True)
class Rebuilt:
    """The network, its example input (batch first), and how to run the original on the same."""

    net: SpikingNet
    x: Tensor
    run: Callable[[nn.Module], Any]


@dataclass(frozen=True)
class _Record:
    """One recorded forward pass of ``module``."""

    module: nn.Module
    graph: fx.Graph
    calls: Mapping[str, int]

    @property
    def states(self) -> dict[str, int]:
        """Number of states of every neuron that was called."""
        return {path: STATES[kind_of(path, self.module.get_submodule(path))] for path in self.calls}


def rebuild(module: nn.Module, x: Tensor, specs: Mapping[str, NeuronSpec]) -> Rebuilt:
    """Rebuild ``module``, either as a loop over time in ``x`` or as one step of ``x [B, N, …]``.

    Raises UnsupportedError for a structure that is not understood, or a result that differs.
    """
    loop_error: Exception | None = None
    try:
        record = _record(module, x)
    except UnsupportedError:
        raise
    except Exception as error:  # user code may raise anything; as one step it may well run
        loop_error = error
    else:
        if max(record.calls.values(), default=0) > 1:
            return _loop(module, x, specs, record)
    if x.dim() < 2:
        raise refuse("the example input has no time axis", "give x [B, N, features] or [N, B, …]")
    try:
        record = _record(module, x[:, 0])
    except UnsupportedError:
        raise
    except Exception as error:
        first = f"; on the whole: {_line(loop_error)}" if loop_error else ""
        raise refuse(
            f"forward runs neither on the example {list(x.shape)} nor on its first step "
            f"{list(x[:, 0].shape)} ({_line(error)}{first})",
            "give x [B, N, features] to a module that computes one step, its own input to one that "
            "loops over time, and leave data-dependent control flow out of forward",
        ) from error
    return _single(module, x, specs, record)


def _line(error: Exception | None) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _record(module: nn.Module, x: Tensor) -> _Record:
    copied = fresh_copy(module)
    graph = ValueTracer([x], is_neuron).record(copied)
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module" and is_neuron(copied.get_submodule(node.target)):
            calls[node.target] = calls.get(node.target, 0) + 1
    return _Record(copied, graph, calls)


# --- a module that loops over time ---------------------------------------------------------------


def _loop(
    module: nn.Module, x: Tensor, specs: Mapping[str, NeuronSpec], record: _Record
) -> Rebuilt:
    steps = max(record.calls.values())
    for path, count in record.calls.items():
        if count != steps:
            raise refuse(
                f"neurons {path!r} run {count} times where others run {steps} times",
                "let every neuron run once per step",
            )
    folded = Folder(record.graph, record.states, steps).fold()
    axis = folded.layout.time_axis
    if axis not in (None, 0, 1):
        raise refuse(f"time is axis {axis} of the input", "make it the first or second axis")
    batch_axis = 1 if axis == 0 else 0
    outputs, axes = [], {}
    for name, info in folded.results.items():
        output, axes[name] = _loop_output(module, x, batch_axis, name, info, folded.ops)
        outputs.append(output)
    net = _network(folded, outputs, specs, record)
    sequence = (x if axis is None else x.movedim(axis, 1)).contiguous()

    def original(dtype: torch.dtype) -> dict[str, Tensor]:
        results = named_outputs(fresh_copy(module, dtype)(x.to(dtype)))
        return {n: results[n].movedim(*move) for n, move in axes.items()}

    _compare(net, sequence, original)
    return Rebuilt(net, sequence, lambda m: m(x))


def _loop_output(
    module: nn.Module,
    x: Tensor,
    batch_axis: int,
    name: str,
    info: Info,
    ops: Mapping[str, Op],
) -> tuple[Output, tuple[int, int]]:
    """The output, and how to move an axis of what the module returns to compare with it."""
    op = ops.get(info.ref.name)
    if isinstance(info, Step):
        return Output(name, info.ref, "last"), (0, 0)
    if op is not None and op.kind == "stack":
        return Output(name, op.args[0], "sequence"), (op.target, 1)
    if op is not None and op.kind in ("sum", "last"):
        return Output(name, op.args[0], op.kind), (0, 0)
    axis = _find_batch(module, x, batch_axis, name)
    return Output(name, info.ref, "whole", axis), (axis, 0)


def _find_batch(module: nn.Module, x: Tensor, batch_axis: int, name: str) -> int:
    """The axis of the result ``name`` that grows with the batch."""
    more = torch.cat([x, x.narrow(batch_axis, 0, 1)], dim=batch_axis)
    try:
        with torch.no_grad():
            shapes = [named_outputs(fresh_copy(module)(v))[name].shape for v in (x, more)]
    except Exception as error:
        raise refuse(
            f"forward does not run on another batch ({_line(error)})",
            "take the batch from the input's shape",
        ) from error
    grown = [i for i, (a, b) in enumerate(zip(*shapes, strict=True)) if b == a + 1]
    if len(grown) != 1:
        raise refuse(
            f"result {name!r} of shape {list(shapes[0])} has no batch axis",
            "return one value per sample",
        )
    return grown[0]


# --- a module that computes one step -------------------------------------------------------------


def _single(
    module: nn.Module, x: Tensor, specs: Mapping[str, NeuronSpec], record: _Record
) -> Rebuilt:
    folded = Folder(record.graph, record.states, None).fold()
    neurons = [op.name for op in folded.ops.values() if op.kind == "neurons"]
    if not neurons:
        raise refuse("forward calls no neurons", "call every neuron once per step")
    kept: dict[str, tuple[Ref, str]] = {}  # output → (step value, result of the module)
    spikes = [n for n, i in folded.results.items() if i.ref.name in neurons]
    for name, info in folded.results.items():
        of, _, part = info.ref.name.rpartition(".")
        if of in neurons and part == SYNAPSE:
            continue  # a state that is passed through
        if of in neurons and part == MEMBRANE:
            if of == neurons[-1]:  # those of hidden layers are states that are passed through
                kept[MEMBRANE] = info.ref, name
        else:
            kept["spikes" if [name] == spikes else name] = info.ref, name
    outputs = [Output(name, ref, "sequence") for name, (ref, _) in kept.items()]
    if "spikes" in kept:
        outputs.insert(0, Output("counts", kept["spikes"][0], "sum"))
    net = _network(folded, outputs, specs, record)

    def run(m: nn.Module) -> list[dict[str, Tensor]]:
        return list(_states_passed(m, x))

    def original(dtype: torch.dtype) -> dict[str, Tensor]:
        every = list(_states_passed(fresh_copy(module, dtype), x.to(dtype)))
        return {
            name: torch.stack([e[result] for e in every], 1) for name, (_, result) in kept.items()
        }

    _compare(net, x, original)
    return Rebuilt(net, x.contiguous(), run)


def _states_passed(module: nn.Module, x: Tensor) -> list[dict[str, Tensor]]:
    """Results of ``module`` for every step; its neurons keep their states themselves."""
    missing = _extra_arguments(module)
    return [named_outputs(module(x[:, t], *missing)) for t in range(x.shape[1])]


def _extra_arguments(module: nn.Module) -> list[None]:
    """None for every state that forward wants: then a neuron goes on from the state it has."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [None for p in parameters if p.default is p.empty and p.kind in positional]


# --- both ----------------------------------------------------------------------------------------


def _network(
    folded: Folded,
    outputs: list[Output],
    specs: Mapping[str, NeuronSpec],
    record: _Record,
) -> SpikingNet:
    """Operations that the outputs need, with their layers."""
    wanted = [o.ref for o in outputs]
    ops = live(folded.ops, wanted)
    read = recorded(ops, wanted)
    features = {
        node.target: tuple(node.args[0].meta[VALUE].shape[1:])
        for node in record.graph.nodes
        if node.op == "call_module" and node.target in specs
    }
    layers: dict[str, nn.Module] = {}
    for op in ops:
        if not isinstance(op.target, str):
            continue
        if op.kind == "neurons":
            layers[op.target] = _neurons(op.target, specs, features, op.target in read)
        elif op.target in folded.constants:
            layers[op.target] = folded.constants[op.target]
        else:
            layers[op.target] = rebuilt_layer(record.module.get_submodule(op.target))
    return SpikingNet(ops, outputs, layers, folded.layout).eval()


def _neurons(
    path: str, specs: Mapping[str, NeuronSpec], features: Mapping[str, tuple[int, ...]], read: bool
) -> Neurons:
    try:
        return Neurons(specs[path], features[path], read)
    except RuntimeError as error:
        raise refuse(
            f"parameters of neurons {path!r} do not fit features {list(features[path])}",
            "give scalars, or tensors that broadcast over the features of one sample",
        ) from error


def _compare(
    net: SpikingNet, x: Tensor, original: Callable[[torch.dtype], dict[str, Tensor]]
) -> None:
    """UnsupportedError unless ``net(x)`` is what the original gives.

    In float64, so that no spike hangs on rounding; where forward insists on float32, in that.
    """
    with torch.no_grad():
        try:
            expected, dtype = original(torch.float64), torch.float64
        except Exception:  # forward holds float32 tensors of its own; anything else fails below too
            expected, dtype = original(torch.float32), torch.float32
        try:
            got = copy.deepcopy(net).to(dtype)(x.to(dtype))
        except Exception as error:
            raise refuse(
                f"a step cannot be computed for all steps at once ({_line(error)})",
                "use operations that treat samples independently and keep the batch first",
            ) from error
    for name, value in zip(net.output_names, got, strict=True):
        if name not in expected:
            continue
        want = expected[name]
        scale = float(want.abs().max()) if want.numel() else 0.0
        tolerance = (_AGREEMENT if dtype is torch.float64 else 1e-4) * max(scale, 1.0)
        if value.shape != want.shape or not torch.allclose(value.to(want), want, atol=tolerance):
            raise refuse(
                f"the rebuilt network gives another {name!r} than the module",
                "a step may mix samples, or forward may depend on the number of the step; let "
                "every step do the same for every sample",
            )
