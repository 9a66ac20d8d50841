"""What the manifest says of a model whatever it was built for: its record, inputs, streaming."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from millijoule.bundle import ModelInfo, StateSpec, Streaming, TensorSpec
from millijoule.converters.model import Model, Named
from millijoule.converters.ops import TensorType


def model_info(model: Model) -> ModelInfo:
    """``manifest.model``."""
    return ModelInfo(
        name=model.name,
        family=model.family,
        variant=model.variant,
        hparams=dict(model.hparams),
        parameters=model.parameters,
        source=model.source,
        ignored_keys=tuple(model.ignored_keys),
        labels=tuple(model.labels) if model.labels else None,
        frontend=dict(model.frontend) if model.frontend else None,
        reference_macs=dict(model.reference_macs),
    )


def streaming_info(model: Model, states: Sequence[tuple[str, TensorType]]) -> Streaming | None:
    """``manifest.streaming``, its states as the program holds them; None for whole sequences."""
    if model.streaming is None:
        return None
    return Streaming(
        delay=model.streaming.delay,
        states=tuple(StateSpec(name, t.shape, t.dtype) for name, t in states),
        sequence_input=model.inputs[0][0],
        valid_input=model.inputs[1][0],
        limit=None,
        final_output=model.outputs[0][0],
    )


def io_specs(model: Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """``manifest.inputs`` and ``manifest.outputs``."""
    batch = batch_of(model)
    valid = model.inputs[1][0] if model.streaming is not None else None
    inputs = (_spec(model, named, batch, shared=valid) for named in model.inputs)
    return tuple(inputs), tuple(_spec(model, named, batch) for named in model.outputs)


def batch_of(model: Model) -> int:
    """Samples per call; a `Size` if that varies."""
    first = model.inputs[0][1].shape
    return first[0] if first else 1


def _spec(model: Model, named: Named, batch: int, *, shared: str | None = None) -> TensorSpec:
    """Rows of the first axis are samples if there are as many as the batch has.

    ``shared``: name of a tensor that all samples share.
    """
    name, t = named
    by_sample = name != shared and t.shape[:1] == (batch,)
    options = model.options.get(name, {})
    return TensorSpec(
        name,
        t.largest.shape,
        t.dtype,
        batch_axis=0 if by_sample else None,
        sizes=size_texts(t),
        **options,
    )


def tolerance_of(model: Model, precision: str) -> dict[str, float]:
    """The model's, or for float16 what 11 bits leave of outputs of the samples' size.

    2⁻⁸ of the largest value: about eight roundings of half a unit of 2⁻¹⁰ that add up.
    """
    if precision != "float16":
        return dict(model.tolerance)
    sizes = {n: float(np.abs(v).max(initial=0)) for n, v in model.sample_outputs.items()}
    return {"default": 2**-8} | {n: 2**-8 * max(size, 1.0) for n, size in sizes.items()}


def size_texts(t: TensorType) -> tuple[str, ...] | None:
    """Sizes as a manifest has them; None if none varies."""
    return None if t.static else tuple(map(str, t.shape))
