"""A spiking network over whole sequences: a list of operations, run on batch and time folded.

Every framework describes such a network by one step; here each operation of the step runs once
for all steps, on tensors ``[B·N, …]``, and each layer of neurons is one scan. `SpikingNet.step`
runs the same operations for a single step with explicit states.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from millijoule.converters.frontends.neurons import Neurons, Spikes, SpikingLinear
from millijoule.converters.stream import Stream, name_states
from millijoule.errors import UnsupportedError

# Layers that only move values about, so that spikes stay spikes
_MOVERS = (nn.Flatten, nn.Unflatten)
_NOTHING = (nn.Identity, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Ref:
    """The result of the operation ``name``."""

    name: str


@dataclass(frozen=True)
class Op:
    """One operation. ``kind`` says what its operands and result are; ``args`` may hold `Ref`s.

    - ``input``: the model's input in the layout of the original module
    - ``call``: ``target(*args)`` on whole tensors: before the steps, or after them
    - ``frame``: takes axis ``target`` of a whole tensor apart into steps
    - ``repeat``: gives every step the same tensor [B, …]
    - ``step``: ``target(*args)`` on steps; ``target`` is a function or the path of a layer
    - ``neurons``: the layer ``target``; ``<name>.membrane`` is the potential if it is recorded
    - ``stack``, ``sum``, ``last``: steps to a whole tensor; ``target`` is the axis of a stack
    """

    name: str
    kind: str
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """One output. ``kind``: ``sequence`` [B, N, …], ``sum`` or ``last`` [B, …] of a step value, or
    ``whole``: a whole tensor whose batch is at ``batch_axis``.
    """

    name: str
    ref: Ref
    kind: str
    batch_axis: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the original module has time: ``time_axis`` of its input, or None if every step gets
    the same input, and then ``steps`` says how many there are.
    """

    time_axis: int | None
    steps: int | None = None


class SpikingNet(nn.Module):
    """``x [B, N, F…]`` (``[B, F…]`` where the input does not change over time) → outputs."""

    delay = 0

    def __init__(
        self,
        ops: Sequence[Op],
        outputs: Sequence[Output],
        layers: Mapping[str, nn.Module],
        layout: Layout,
    ) -> None:
        super().__init__()
        self._ops, self._outputs, self._layout = tuple(ops), tuple(outputs), layout
        self._paths = {path: _place(self, path, layer) for path, layer in layers.items()}
        name_states(self)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(o.name for o in self._outputs)

    @property
    def time_axis(self) -> int | None:
        """Where the original module has time, see `Layout`."""
        return self._layout.time_axis

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All outputs of whole sequences."""
        steps = self._layout.steps if self._layout.time_axis is None else x.shape[1]
        assert steps is not None
        run = _Run(self, x.dtype, x.shape[0], steps, None)
        values = run.execute(self._ops, x)
        return tuple(run.output(o, values) for o in self._outputs)

    def frames(self, x: Tensor) -> Tensor:
        """The input of `forward` as a sequence [B, N, F…], one frame per step."""
        if self._layout.time_axis is not None:
            return x
        assert self._layout.steps is not None
        return x.unsqueeze(1).expand(x.shape[0], self._layout.steps, *x.shape[1:])

    def step(self, x: Tensor, stream: Stream) -> tuple[Tensor, ...]:
        """Outputs of one step ``x [B, 1, F…]``: of this step, or summed up so far."""
        run = _Run(self, x.dtype, x.shape[0], 1, stream)
        frames = x[:, 0] if self._layout.time_axis is None else x
        values = run.execute(self._ops, frames)
        return tuple(run.output(o, values) for o in self._outputs)

    def check_streaming(self) -> None:
        """UnsupportedError if an output needs the whole sequence at once."""
        for output in self._outputs:
            if output.kind == "whole":
                raise UnsupportedError(
                    f"[streaming] output {output.name!r} is computed from all steps at once; "
                    "return the stacked spikes, their sum, or the last step, or build without "
                    "--streaming"
                )

    def layer(self, path: str) -> nn.Module:
        """The layer that the original module calls ``path``."""
        return self.get_submodule(self._paths[path])


def _place(root: nn.Module, path: str, layer: nn.Module) -> str:
    """Put ``layer`` at ``path`` below ``root``, making containers; returns where it ended up."""
    *parents, last = path.split(".")
    placed: list[str] = []
    for name in parents:
        name = _free(root, name)
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
        placed.append(name)
    last = _free(root, last)
    root.add_module(last, layer)
    return ".".join([*placed, last])


def _free(root: nn.Module, name: str) -> str:
    """``name`` as torch.export can write it: no keyword, nor an attribute of every module."""
    name = re.sub(r"\W", "_", name) or "_"
    while keyword.iskeyword(name) or (name not in root._modules and hasattr(root, name)):
        name += "_"
    return name


class _Run:
    """One execution of the operations."""

    def __init__(
        self, net: SpikingNet, dtype: torch.dtype, batch: int, steps: int, stream: Stream | None
    ) -> None:
        self._net, self._dtype, self._stream = net, dtype, stream
        self._batch, self._steps = batch, steps
        # folded tensors that have an unfolded form already, by id; saves reshaping to and fro
        self._unfolded: dict[int, tuple[Tensor, Tensor]] = {}

    def execute(self, ops: Sequence[Op], x: Tensor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        kinds: dict[str, Callable[[Op, dict[str, Any]], Any]] = {
            "input": lambda op, _: self._input(x),
            "call": self._call,
            "frame": self._frame,
            "repeat": self._repeat,
            "step": self._step,
            "neurons": self._neurons,
            "stack": lambda op, v: self._unfold(v[op.args[0].name]).movedim(1, op.target),
            "sum": lambda op, v: self._unfold(v[op.args[0].name]).sum(1),
            "last": lambda op, v: self._unfold(v[op.args[0].name])[:, -1],
        }
        for op in ops:
            values[op.name] = kinds[op.kind](op, values)
        return values

    def output(self, output: Output, values: Mapping[str, Any]) -> Tensor:
        """One output, batch first."""
        value = values[output.ref.name]
        if output.kind == "whole":
            return value.movedim(output.batch_axis, 0).contiguous()
        sequence = self._unfold(value)
        if self._stream is not None:
            return self._running(output, sequence.squeeze(1), self._stream)
        if output.kind == "sum":
            return sequence.sum(1)
        return sequence if output.kind == "sequence" else sequence[:, -1].contiguous()

    def _running(self, output: Output, value: Tensor, stream: Stream) -> Tensor:
        if output.kind != "sum":
            return value
        name = f"{output.name}.total"
        total = stream.read(name, value.shape, value.dtype) + value * stream.valid.to(value.dtype)
        stream.write(name, total)
        return total

    def _fold(self, sequence: Tensor) -> Tensor:
        """[B, N, …] → steps [B·N, …]."""
        folded = sequence.flatten(0, 1)
        self._unfolded[id(folded)] = folded, sequence
        return folded

    def _unfold(self, value: Tensor | Spikes) -> Tensor:
        """Steps [B·N, …] → [B, N, …] as an ordinary tensor."""
        if isinstance(value, Spikes):
            return Spikes(self._unfold(value.values), value.gain).dense(self._dtype)
        if id(value) in self._unfolded:
            return self._unfolded[id(value)][1]
        return value.reshape(self._batch, self._steps, *value.shape[1:])

    def _dense(self, value: Any) -> Any:
        return value.dense(self._dtype) if isinstance(value, Spikes) else value

    def _input(self, x: Tensor) -> Tensor:
        axis = self._net._layout.time_axis
        return x if axis is None else x.movedim(1, axis)

    def _arguments(self, op: Op, values: Mapping[str, Any]) -> tuple[Any, Any]:
        return pytree.tree_map_only(
            Ref,
            lambda ref: values[ref.name],
            (op.args, dict(op.kwargs)),
            is_leaf=lambda a: isinstance(a, Ref),
        )

    def _call(self, op: Op, values: dict[str, Any]) -> Any:
        args, kwargs = self._arguments(op, values)
        target = self._net.layer(op.target) if isinstance(op.target, str) else op.target
        return target(*args, **kwargs)

    def _frame(self, op: Op, values: dict[str, Any]) -> Tensor:
        return self._fold(values[op.args[0].name].movedim(op.target, 1))

    def _repeat(self, op: Op, values: dict[str, Any]) -> Tensor:
        value = values[op.args[0].name]
        shape = (self._batch, self._steps, *value.shape[1:])
        return self._fold(value.unsqueeze(1).expand(shape))

    def _step(self, op: Op, values: dict[str, Any]) -> Any:
        args, kwargs = self._arguments(op, values)
        target = self._net.layer(op.target) if isinstance(op.target, str) else op.target
        first = args[0] if args else None
        if isinstance(target, _NOTHING):
            return first
        if isinstance(target, SpikingLinear):
            return self._linear(target, first)
        moves = isinstance(target, _MOVERS) or getattr(target, "moves", False)
        if isinstance(first, Spikes) and moves:
            return first.moved(lambda v: target(v, *args[1:], **kwargs))
        args, kwargs = pytree.tree_map_only(
            Spikes, self._dense, (args, kwargs), is_leaf=lambda a: isinstance(a, Spikes)
        )
        return target(*args, **kwargs)

    def _linear(self, layer: SpikingLinear, x: Tensor | Spikes) -> Tensor:
        if isinstance(x, Spikes):
            return self._fold(layer(Spikes(self._unfold(x.values), x.gain)))
        return self._fold(layer(self._unfold(x)))

    def _neurons(self, op: Op, values: dict[str, Any]) -> Spikes:
        layer = self._net.layer(op.target)
        assert isinstance(layer, Neurons)
        currents = self._dense(values[op.args[0].name])
        plain = currents.dim() == 2
        shape = (self._batch, self._steps, layer.width)
        membrane: list[Tensor] = []
        sequence = self._unfold(currents) if plain else currents.reshape(shape)
        spikes = layer(sequence, self._stream, membrane)

        def steps(result: Tensor) -> Tensor:
            return self._fold(result) if plain else result.reshape(currents.shape)

        if membrane:
            values[f"{op.name}.membrane"] = steps(membrane[0])
        return Spikes(steps(spikes), layer.spec.gain)
