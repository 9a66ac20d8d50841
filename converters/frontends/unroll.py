"""A recorded forward pass that loops over time → the operations of one step, over whole sequences.

The record holds every step. Nodes of different steps that do the same with the same become one
operation; where a step differs from the others, or uses another step's values other than as the
state of a neuron, the network is refused. Lists that are stacked and running sums become the
results of whole sequences.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from millijoule.converters.frontends.network import Layout, Op, Ref
from millijoule.converters.frontends.nodes import (
    MEMBRANE,
    SYNAPSE,
    Constant,
    Folded,
    Info,
    Method,
    Reshape,
    Step,
    Total,
    Whole,
    refs_in,
    refuse,
    target_of,
)
from millijoule.converters.frontends.results import named_outputs
from millijoule.converters.frontends.time_axis import Frames, find_frames, find_layout
from millijoule.converters.frontends.trace import VALUE

_ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
_RESHAPES = (torch.flatten, torch.reshape, "flatten", "view", "reshape")


class Folder:
    """``steps=None``: the record is one step, and the input one frame."""

    def __init__(self, graph: fx.Graph, neurons: Mapping[str, int], steps: int | None) -> None:
        self._graph, self._neurons = graph, neurons
        self._steps, self._frame_only = steps or 1, steps is None
        self._ops: dict[str, Op] = {}
        self._known: dict[str, str] = {}
        self._info: dict[fx.Node, Info] = {}
        self._calls: Counter[str] = Counter()
        self._spent: set[str] = set()
        self._constants: dict[str, Constant] = {}
        self._frames: Frames = {} if steps is None else find_frames(graph, steps)
        self._layout = Layout(1) if steps is None else find_layout(graph, steps, self._frames)

    def fold(self) -> Folded:
        """Go through the record once."""
        results: dict[str, Info] = {}
        for node in self._graph.nodes:
            if node.op == "output":
                results = self._results(node.args[0])
            else:
                info = self._visit(node)
                if info is not None:
                    self._info[node] = info
        return Folded(self._ops, results, self._layout, self._constants)

    # --- nodes -----------------------------------------------------------------------------------

    def _visit(self, node: fx.Node) -> Info | None:
        if node.op == "placeholder":
            ref = self._emit("input", None, ())
            return Step(self._emit("frame", 1, (ref,)), 0) if self._frame_only else Whole(ref)
        if node.op == "get_attr":
            name = self._constant(node.meta[VALUE])
            return Whole(self._emit("call", name, ()), varies=False)
        if node in self._frames:
            source, axis, t = self._frames[node]
            return Step(self._emit("frame", axis, (self._whole(source),)), t)
        if node.target is torch.unbind or node.target == "unbind":
            return None if any(user in self._frames for user in node.users) else self._plain(node)
        if node.op == "call_module" and node.target in self._neurons:
            return self._neuron(node)
        if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
            neuron = self._of_neuron(node)
            if neuron is not None:
                return neuron
        return self._plain(node)

    def _constant(self, value: Tensor) -> str:
        """Path of the constant ``value``; equal ones, which every step may make anew, are one."""
        for name, known in self._constants.items():
            if known.value.dtype == value.dtype and torch.equal(known.value, value):
                return name
        name = f"constants.c{len(self._constants)}"
        self._constants[name] = Constant(value)
        return name

    def _plain(self, node: fx.Node) -> Info:
        """An ordinary operation: before, in, across or after the steps."""
        infos = [self._info[n] for n in node.all_input_nodes]
        steps = {i.t for i in infos if isinstance(i, Step)}
        if any(isinstance(i, Total) for i in infos) or len(steps) > 1:
            return self._across(node)
        after = any(isinstance(i, Whole) and self._is_after(i) for i in infos)
        if steps and not after:
            return Step(self._emit_step(node), steps.pop())
        varies = any(not isinstance(i, Whole) or i.varies for i in infos)
        return Whole(self._emit_call(node), varies)

    def _is_after(self, info: Whole) -> bool:
        """Whether a whole tensor comes out of the steps."""
        return info.ref.name in self._spent

    def _emit_call(self, node: fx.Node) -> Ref:
        def whole(n: fx.Node) -> Ref:
            info = self._info[n]
            return self._last(n) if isinstance(info, Step) else info.ref

        args = fx.node.map_arg(node.args, whole)
        kwargs = fx.node.map_arg(node.kwargs, whole)
        ref = self._emit("call", target_of(node), args, kwargs)
        if any(r.name in self._spent for r in refs_in((args, kwargs))):
            self._spent.add(ref.name)
        return ref

    def _emit_step(self, node: fx.Node) -> Ref:
        args = fx.node.map_arg(node.args, self._in_step)
        kwargs = fx.node.map_arg(node.kwargs, self._in_step)
        target: Any = target_of(node)
        if node.target in _RESHAPES:
            rows = node.args[0].meta[VALUE].shape[0]
            if node.meta[VALUE].shape[0] != rows:
                raise refuse(
                    f"{node.name} reshapes the batch axis within a step",
                    "keep the batch first, as in flatten(1) or view(batch, -1)",
                )
            args, kwargs, target = args[:1], {}, Reshape(tuple(node.meta[VALUE].shape[1:]))
        return self._emit("step", target, args, kwargs)

    def _in_step(self, n: fx.Node) -> Ref:
        """A value as an operation of a step sees it."""
        info = self._info[n]
        if isinstance(info, Whole) and info.varies:
            return self._emit("repeat", None, (info.ref,))
        return info.ref

    def _whole(self, node: fx.Node) -> Ref:
        info = self._info[node]
        assert isinstance(info, Whole)
        return info.ref

    # --- neurons ---------------------------------------------------------------------------------

    def _neuron(self, node: fx.Node) -> Info:
        path, state_count = str(node.target), self._neurons[str(node.target)]
        t = self._calls[path]
        self._calls[path] += 1
        names = ("input_", "syn", "mem") if state_count == 2 else ("input_", "mem")
        given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        current = given.pop("input_")
        info = self._info.get(current) if isinstance(current, fx.Node) else None
        if info is None or (isinstance(info, Step) and info.t != t) or isinstance(info, Total):
            raise refuse(
                f"neurons {path!r} at step {t} take a value of another step",
                "recurrent connections and repeated calls per step are not converted; feed every "
                "neuron once per step with values of that step",
            )
        self._check_state(path, t, given)
        return Step(self._emit("neurons", path, (self._in_step(current),), name=path), t)

    def _check_state(self, path: str, t: int, given: Mapping[str, Any]) -> None:
        for kind, value in given.items():
            if value is None:
                continue
            info = self._info.get(value) if isinstance(value, fx.Node) else None
            want = f"{path}.{MEMBRANE if kind == 'mem' else SYNAPSE}"
            if t and info == Step(Ref(want), t - 1):
                continue
            start = value.meta[VALUE] if isinstance(value, fx.Node) else torch.as_tensor(value)
            if t or not isinstance(start, Tensor) or bool(start.count_nonzero()):
                raise refuse(
                    f"neurons {path!r} at step {t} do not take their own {kind} of the step before",
                    "start states at zero and pass each neuron's own state on",
                )

    def _of_neuron(self, node: fx.Node) -> Info | None:
        """One of the results of a neuron: spikes, synaptic current, membrane potential."""
        source, index = node.args
        assert isinstance(source, fx.Node)
        if source.op != "call_module" or source.target not in self._neurons:
            return None
        return self._part(source, index) if isinstance(source.meta[VALUE], tuple) else None

    def _part(self, neuron: fx.Node, index: Any) -> Info:
        info, count = self._info.get(neuron), len(neuron.meta[VALUE])
        if not isinstance(info, Step) or neuron.target not in self._neurons:
            raise refuse(
                f"result {neuron.name!r} is no tensor", "return tensors, or a dict of them"
            )
        if index % count == 0:
            return info
        name = MEMBRANE if index % count == count - 1 else SYNAPSE
        return Step(Ref(f"{neuron.target}.{name}"), info.t)

    # --- across steps ----------------------------------------------------------------------------

    def _across(self, node: fx.Node) -> Info:
        if node.target is torch.stack:
            return self._stack(node)
        if node.target in _ADDS and len(node.args) == 2 and not node.kwargs:
            total = self._add(*node.args)
            if total is not None:
                if total.count < self._steps:
                    return total
                return Whole(self._emit_after("sum", None, total.ref))
        raise refuse(
            f"{node.name} mixes values of different steps",
            "recurrent connections are not converted; results of steps may be collected in a list "
            "and stacked after the loop with torch.stack, or summed",
        )

    def _stack(self, node: fx.Node) -> Whole:
        items = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        assert isinstance(items, list | tuple)
        assert isinstance(axis, int)
        infos = [self._info.get(i) if isinstance(i, fx.Node) else None for i in items]
        refs = {i.ref for i in infos if isinstance(i, Step)}
        order = [i.t if isinstance(i, Step) else -1 for i in infos]
        if len(refs) != 1 or order != list(range(self._steps)):
            raise refuse(
                f"{node.name} does not stack the same value of steps 0 to {self._steps - 1}",
                "let every step do the same, and append one value per step",
            )
        rank = node.meta[VALUE].dim()
        return Whole(self._emit_after("stack", axis % rank, refs.pop()))

    def _add(self, left: Any, right: Any) -> Total | None:
        """A running sum, one step further."""
        a, b = self._info.get(left), self._info.get(right)
        if isinstance(b, Total) or (isinstance(a, Step) and isinstance(b, Step) and a.t > b.t):
            a, b = b, a
        if not isinstance(b, Step):
            return None
        if isinstance(a, Step) and a.t == 0:
            a = Total(self._without_zero(a.ref), 1)
        if isinstance(a, Total) and a == Total(b.ref, b.t):
            return Total(b.ref, b.t + 1)
        return None

    def _without_zero(self, ref: Ref) -> Ref:
        """The other operand of a sum with zero."""
        op = self._ops.get(ref.name)
        if (
            op is None
            or op.kind != "step"
            or op.target not in (*_ADDS, *map(Method, ("add", "add_")))
        ):
            return ref
        others = [a for a in op.args if not self._is_zero(a)]
        return others[0] if len(others) == 1 and isinstance(others[0], Ref) else ref

    def _is_zero(self, argument: Any) -> bool:
        if not isinstance(argument, Ref):
            return bool(argument == 0)
        op = self._ops.get(argument.name)
        if op is not None and op.kind == "repeat":
            return self._is_zero(op.args[0])
        known = [n for n, i in self._info.items() if i.ref == argument and isinstance(i, Whole)]
        return bool(known) and not bool(known[0].meta[VALUE].count_nonzero())

    def _last(self, node: fx.Node) -> Ref:
        info = self._info[node]
        assert isinstance(info, Step)
        if info.t != self._steps - 1:
            raise refuse(f"{node.name} of step {info.t} is used on its own", "use that of the last")
        return self._emit_after("last", None, info.ref)

    # --- results ---------------------------------------------------------------------------------

    def _results(self, returned: Any) -> dict[str, Info]:
        """What is returned, by name."""
        if isinstance(returned, fx.Node) and isinstance(returned.meta[VALUE], tuple):
            count = len(returned.meta[VALUE])
            return {f"y{i}": self._part(returned, i) for i in range(count)}
        results: dict[str, Info] = {}
        for name, value in named_outputs(returned).items():
            if value is None:
                continue
            if not isinstance(value, fx.Node) or not isinstance(value.meta[VALUE], Tensor):
                raise refuse(f"result {name!r} is no tensor", "return tensors, or a dict of them")
            info = self._info.get(value)
            if info is None or isinstance(info, Total):
                raise refuse(f"result {name!r} is a sum of some steps only", "return sums of all")
            if isinstance(info, Step) and info.t != self._steps - 1:
                raise refuse(f"result {name!r} is that of step {info.t}", "return the last or all")
            results[name] = info
        return results

    # --- operations ------------------------------------------------------------------------------

    def _emit_after(self, kind: str, target: Any, ref: Ref) -> Ref:
        after = self._emit(kind, target, (ref,))
        self._spent.add(after.name)
        return after

    def _emit(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> Ref:
        """The operation that does this; a new one if there is none yet."""
        identity = target if isinstance(target, str) else f"{id(target)} {target!r}"
        if not callable(target) or isinstance(target, Method | Reshape):
            identity = repr(target)
        key = f"{kind} {identity} {args!r} {dict(kwargs or {})!r}"
        if key not in self._known:
            if name in self._ops:
                raise refuse(
                    f"neurons {name!r} take different values at different steps",
                    "let every step do the same, once per step",
                )
            name = name or f"{kind}_{len(self._ops)}"
            self._known[key] = name
            self._ops[name] = Op(name, kind, target, tuple(args), dict(kwargs or {}))
        return Ref(self._known[key])
