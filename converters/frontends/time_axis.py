"""Where the input of a recorded forward pass has time, and which nodes take it apart."""

from __future__ import annotations

from collections import defaultdict

from torch import Tensor, fx

from millijoule.converters.frontends.network import Layout
from millijoule.converters.frontends.nodes import refuse, selection_of
from millijoule.converters.frontends.trace import VALUE

# node → (whole tensor, time axis, step)
Frames = dict[fx.Node, tuple[fx.Node, int, int]]


def find_frames(graph: fx.Graph, steps: int) -> Frames:
    """Node → (whole tensor, time axis, step) for nodes that take the input apart."""
    groups: dict[tuple[fx.Node, int], dict[int, list[fx.Node]]] = defaultdict(dict)
    for node in graph.nodes:
        picked = selection_of(node)
        if picked is None:
            continue
        source, axis, index = picked
        value = source.meta.get(VALUE)
        if isinstance(value, Tensor) and value.dim() > axis and value.shape[axis] == steps:
            groups[source, axis].setdefault(index % steps, []).append(node)
    frames: Frames = {}
    for (source, axis), nodes in groups.items():
        if set(nodes) == set(range(steps)):
            frames |= {n: (source, axis, t) for t, group in nodes.items() for n in group}
    return frames


def find_layout(graph: fx.Graph, steps: int, frames: Frames) -> Layout:
    """Which axis of the input is time."""
    (x,) = [n for n in graph.nodes if n.op == "placeholder"]
    if not frames:
        return Layout(None, steps)
    axes = {axis for source, axis, _ in frames.values() if source is x}
    if len(axes) == 1:
        return Layout(axes.pop())
    fits = [a for a in (0, 1) if x.meta[VALUE].dim() > a and x.meta[VALUE].shape[a] == steps]
    if len(fits) != 1:
        raise refuse(
            f"cannot tell which axis of the example input {list(x.meta[VALUE].shape)} is time",
            "give an example whose batch differs from its number of steps",
        )
    return Layout(fits[0])
