"""`SpikingNet` → `Model`, whole-sequence or streaming."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from millijoule.converters.frontends.network import SpikingNet
from millijoule.converters.importer import import_program
from millijoule.converters.model import Model, StreamingInfo
from millijoule.converters.ops import TensorType
from millijoule.converters.samples import random_candidates, robust_sample, spikes_of
from millijoule.converters.stream import StreamStep

FAMILY = "spiking"


def spiking_model(net: SpikingNet, x: Tensor, *, streaming: bool, **about: Any) -> Model:
    """Export ``net`` for inputs of the shape of ``x [B, N, F…]``.

    ``x`` becomes the sample unless one of its spikes hangs on rounding. ``about``: further fields
    of the model. Raises UnsupportedError for an operator that cannot be imported, or (streaming) an
    output that needs the whole sequence.
    """
    net.eval()
    if streaming:
        net.check_streaming()
    sample = robust_sample(net, _candidates(x)).contiguous()
    about = {"family": FAMILY, "sample_inputs": {"x": sample.numpy()}, **about}
    return _streaming(net, sample, about) if streaming else _sequence(net, sample, about)


def _candidates(x: Tensor) -> Iterable[Tensor]:
    yield x
    yield from random_candidates(tuple(x.shape))


def _named(net: SpikingNet, tensors: Iterable[Tensor]) -> tuple[tuple[str, TensorType], ...]:
    """Names, shapes and dtypes of the outputs."""
    return tuple(
        (name, TensorType(tuple(t.shape), str(t.dtype).removeprefix("torch.")))
        for name, t in zip(net.output_names, tensors, strict=True)
    )


def _sequence(net: SpikingNet, x: Tensor, about: dict[str, Any]) -> Model:
    outputs, spikes = spikes_of(net, lambda m: m(x))
    program, layers = import_program(torch.export.export(net, (x,)))
    samples = {name: t.numpy() for name, t in zip(net.output_names, outputs, strict=True)}
    samples |= {f"spikes:{path}": s.numpy() for path, s in spikes.items()}
    return Model(
        module=program,
        layers=layers,
        inputs=(("x", TensorType(tuple(x.shape), "float32")),),
        outputs=_named(net, outputs),
        sample_outputs=samples,
        **about,
    )


def _streaming(net: SpikingNet, x: Tensor, about: dict[str, Any]) -> Model:
    sequence = net.frames(x)
    batch, frame_shape = x.shape[0], sequence.shape[2:]
    step = StreamStep(net, net.delay, batch, tuple(frame_shape))
    valid = torch.ones(1, dtype=torch.int32)
    example = (sequence[:, 0].contiguous(), valid, *step.initial_states())
    program, layers = import_program(torch.export.export(step, example))
    about["sample_inputs"] = {"x": sequence.contiguous().numpy()}
    every = _run_steps(step, sequence, valid)
    samples = {}
    for name, values in zip(net.output_names, zip(*every, strict=True), strict=True):
        samples[name] = values[-1].numpy()
        samples[f"all_seq_{name}"] = torch.stack(values).numpy()
    return Model(
        module=program,
        layers=layers,
        inputs=(
            ("x", TensorType(tuple(example[0].shape), "float32")),
            ("valid", TensorType((1,), "int32")),
        ),
        outputs=_named(net, every[-1]),
        states=tuple((s.name, TensorType(s.shape, s.dtype)) for s in step.states),
        streaming=StreamingInfo(net.delay),
        sample_outputs=samples,
        **about,
    )


def _run_steps(step: StreamStep, x: Tensor, valid: Tensor) -> list[tuple[Tensor, ...]]:
    """Outputs of every step of ``x [B, N, F…]``."""
    states, every = step.initial_states(), []
    outputs = len(step.model.output_names)
    with torch.no_grad():
        for t in range(x.shape[1]):
            results = step(x[:, t], valid, *states)
            every.append(results[:outputs])
            states = results[outputs:]
    return every
