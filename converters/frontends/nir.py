"""NIR graphs (``.nir`` files or ``nir.NIRGraph``) of feed-forward spiking networks.

Several edges into a node add up. The model takes ``x [B, N, F…]``; NIR fixes neither the number of
steps N nor their length: `convert_nir` takes both, and an example input says N, too. Outputs, for a
graph with one output that is fed by neurons: ``counts [B, F…]`` and ``spikes [B, N, F…]`` as for
snnTorch networks, or ``membrane [B, N, F…]`` of integrators; otherwise ``y``. With several outputs,
each has the name of its node. The equations are in `nir_nodes`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from millijoule.converters.frontends.network import Layout, Op, Output, Ref, SpikingNet
from millijoule.converters.frontends.neurons import Neurons
from millijoule.converters.frontends.nir_nodes import LAYERS, NEURONS
from millijoule.converters.frontends.results import repeat_rows
from millijoule.converters.frontends.spiking import spiking_model
from millijoule.converters.frontends.userfile import missing_package
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.errors import ModelError, UnsupportedError, UsageError

VARIANT = "nir"
DT = 1e-4  # of snnTorch's exporter and importer
STEPS = 100
SUPPORTED = ("Input", "Output", *sorted([*LAYERS, *NEURONS]))


def convert_nir(
    source: Any,
    *,
    steps: int = STEPS,
    dt: float = DT,
    example_inputs: Any = None,
    name: str | None = None,
    streaming: bool = False,
    batch: int = 1,
) -> Model:
    """Convert a NIR graph.

    Args:
        source: path of a ``.nir`` file, or a ``nir.NIRGraph``.
        steps: number of steps of the input, unless ``example_inputs`` says it.
        dt: length of a step in the unit of the graph's time constants.
        example_inputs: a tensor ``[B, N, F…]`` (or a sequence of one).
        name: name of the model (default: the file's).
        batch: rows per call, unless it is 1 and an example has more.

    Raises UnsupportedError for a node or a recurrent edge, by name; ModelError for shapes that do
    not fit; UsageError for a missing file; DeviceError if the package nir is missing.
    """
    if steps < 1 or not dt > 0:
        raise UsageError(f"[nir] steps and dt must be positive, but are {steps} and {dt}")
    graph = _read(source)
    order = _topological(graph)
    x = _example(graph, example_inputs, steps, batch)
    net = _build(graph, order, x, dt)
    label = name or (Path(source).stem if isinstance(source, str | Path) else "nir")
    macs = _reference_macs(net, x)
    return spiking_model(
        net,
        x,
        streaming=streaming,
        name=label,
        variant=VARIANT,
        hparams={"dt": dt},
        parameters=sum(p.numel() for p in net.parameters()),
        reference_macs=macs,
    )


def _read(source: Any) -> Any:
    """The graph, after checking that there is a file and a package to read it."""
    if not isinstance(source, str | Path):
        return source
    if not Path(source).is_file():
        raise UsageError(f"[source] no file {str(source)!r}; give the path of a .nir file")
    try:
        import nir
    except ModuleNotFoundError as error:
        raise missing_package("nir") from error
    try:
        return nir.read(source, type_check=False)
    except Exception as error:  # h5py and nir raise many kinds for malformed files
        what = " ".join(str(error).split())
        raise ModelError(f"[{Path(source).name}] is no NIR graph: {what}") from error


def _topological(graph: Any) -> list[str]:
    """Node names, inputs first. UnsupportedError for unknown nodes and cycles."""
    for name, node in graph.nodes.items():
        if type(node).__name__ not in SUPPORTED:
            raise UnsupportedError(
                f"[nir] node {name!r} is of type {type(node).__name__}, which is not supported; "
                f"supported are {', '.join(SUPPORTED)}"
            )
    sources = _sources(graph)
    order: list[str] = []
    while len(order) < len(graph.nodes):
        ready = [n for n in graph.nodes if n not in order and set(sources[n]) <= set(order)]
        if not ready:
            stuck = [n for n in graph.nodes if n not in order]
            raise UnsupportedError(
                f"[nir] edges among {', '.join(map(repr, stuck))} form a cycle; recurrent "
                "connections are not supported, only feed-forward graphs"
            )
        order += ready
    return order


def _sources(graph: Any) -> dict[str, list[str]]:
    """Names of the nodes with an edge to each node."""
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for start, end in graph.edges:
        for name in (start, end):
            if name not in sources:
                raise ModelError(f"[nir] an edge names {name!r}, which is no node of the graph")
        sources[end].append(start)
    return sources


def _example(graph: Any, example_inputs: Any, steps: int, batch: int) -> Tensor:
    """The example input, or a random one: [B, N, F…]."""
    inputs = [n for n, node in graph.nodes.items() if type(node).__name__ == "Input"]
    if len(inputs) != 1:
        raise UnsupportedError(f"[nir] a graph must have one Input node, but has {len(inputs)}")
    features = tuple(int(d) for d in graph.nodes[inputs[0]].input_type["input"])
    if example_inputs is None:
        return torch.randn(batch, steps, *features, generator=torch.Generator().manual_seed(0))
    if isinstance(example_inputs, Sequence) and len(example_inputs) == 1:
        example_inputs = example_inputs[0]
    x = torch.as_tensor(example_inputs).detach().float()
    if x.dim() != len(features) + 2 or tuple(x.shape[2:]) != features:
        raise ModelError(
            f"[nir] example input must be [B, N, {', '.join(map(str, features))}], "
            f"but is {list(x.shape)}"
        )
    return x if batch == 1 else repeat_rows(x, batch, 0)


class _Builder:
    """Operations and layers, node by node; ``values`` are example frames [B, F…]."""

    def __init__(self, frame: Tensor) -> None:
        self.ops = [Op("input", "input", None), Op("frame", "frame", 1, (Ref("input"),))]
        self.layers: dict[str, nn.Module] = {}
        self._frame = frame
        self._values: dict[str, tuple[Ref, Tensor]] = {}

    def input(self, name: str) -> None:
        """The graph's input."""
        self._values[name] = Ref("frame"), self._frame

    def sum_of(self, name: str, sources: Sequence[str]) -> tuple[Ref, Tensor]:
        """What flows into a node."""
        if not sources:
            raise ModelError(f"[nir] nothing is connected to node {name!r}")
        ref, value = self._values[sources[0]]
        for i, source in enumerate(sources[1:]):
            other, more = self._values[source]
            if value.shape != more.shape:
                raise ModelError(
                    f"[nir] inputs of node {name!r} have shapes {list(value.shape[1:])} and "
                    f"{list(more.shape[1:])}, which cannot be added"
                )
            self.ops.append(Op(f"{name}.sum{i}", "step", operator.add, (ref, other)))
            ref, value = Ref(f"{name}.sum{i}"), value + more
        return ref, value

    def add(self, name: str, node: Any, sources: Sequence[str], dt: float) -> None:
        """A layer or a layer of neurons."""
        ref, value = self.sum_of(name, sources)
        kind = type(node).__name__
        try:
            if kind in LAYERS:
                layer = LAYERS[kind](node)
                with torch.no_grad():
                    value = layer(value)
                self.ops.append(Op(name, "step", name, (ref,)))
                result = Ref(name)
            else:
                spec = NEURONS[kind](node, dt)
                layer = Neurons(spec, tuple(value.shape[1:]), potentials=not spec.spiking)
                self.ops.append(Op(name, "neurons", name, (ref,)))
                result = Ref(name if spec.spiking else f"{name}.membrane")
        except (RuntimeError, ValueError, IndexError) as error:
            raise ModelError(
                f"[nir] node {name!r} ({kind}) does not fit its input of shape "
                f"{list(value.shape[1:])}: {' '.join(str(error).split())}"
            ) from error
        self.layers[name] = layer
        self._values[name] = result, value


def _build(graph: Any, order: Sequence[str], x: Tensor, dt: float) -> SpikingNet:
    sources = _sources(graph)
    builder = _Builder(x[:, 0])
    results: dict[str, Ref] = {}
    for name in order:
        node = graph.nodes[name]
        if type(node).__name__ == "Input":
            builder.input(name)
        elif type(node).__name__ == "Output":
            results[name], _ = builder.sum_of(name, sources[name])
        else:
            builder.add(name, node, sources[name], dt)
    if not results:
        raise ModelError("[nir] the graph has no Output node")
    in_order = {name: results[name] for name in graph.nodes if name in results}
    outputs = _outputs(in_order, builder.layers)
    return SpikingNet(builder.ops, outputs, builder.layers, Layout(1)).eval()


def _outputs(results: Mapping[str, Ref], layers: Mapping[str, nn.Module]) -> list[Output]:
    if len(results) > 1:
        return [Output(name, ref, "sequence") for name, ref in results.items()]
    (ref,) = results.values()
    if isinstance(layers.get(ref.name), Neurons):
        return [Output("counts", ref, "sum"), Output("spikes", ref, "sequence")]
    name = "membrane" if ref.name.endswith(".membrane") else "y"
    return [Output(name, ref, "sequence")]


def _reference_macs(net: SpikingNet, x: Tensor) -> dict[str, int]:
    """Dense MACs of one sample over all steps."""
    macs = count_macs(net, lambda: net(x))
    return {path: count // x.shape[0] for path, count in macs.items()}
