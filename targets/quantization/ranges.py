"""Scales of the inputs of dense layers, from what the float program computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from millijoule.converters.importer import tensor_type
from millijoule.converters.model import Model
from millijoule.session import Session
from millijoule.stream import END, Stepper
from millijoule.targets.passes.quantize import DenseInput, dense_inputs
from millijoule.targets.passes.quantize.numbers import WEIGHT_LIMIT, round_half_away
from millijoule.targets.quantization.calibration import Calibration
from millijoule.targets.quantization.reference import built

KEPT = 1 << 22  # values per tensor that the choice of a scale looks at
SHARES = tuple(1 - 0.05 * step for step in range(11))  # of the largest magnitude


def observe(model: Model, calibration: Calibration) -> tuple[list[float], dict[str, np.ndarray]]:
    """Run a prepared float model on this machine.

    Returns, per dense layer, what one unit of its int8 input is worth, and the outputs by name,
    samples along axis 0.
    """
    module, inputs = dense_inputs(model.module, len(model.states))
    names = [f"dense_input.{i}" for i in range(len(inputs))]
    extra = tuple((n, tensor_type(x.expr)) for n, x in zip(names, inputs, strict=True))
    whole = replace(model, module=module, outputs=(*model.outputs, *extra), sample_outputs={})
    seen: list[list[np.ndarray]] = [[] for _ in names]
    outputs: dict[str, list[np.ndarray]] = {name: [] for name, _ in model.outputs}
    delay = model.streaming.delay if model.streaming else 0
    with built(whole, naive=False) as session:
        for steps in _calls(session, calibration):
            for name, values in outputs.items():
                values.append(steps[-1][name])
            for values, name, dense in zip(seen, names, inputs, strict=True):
                values.append(_values([step[name] for step in steps], dense, delay))
    scales = [best_scale(np.concatenate(values)) for values in seen]
    count = calibration.samples
    return scales, {name: np.concatenate(parts)[:count] for name, parts in outputs.items()}


def _calls(session: Session, calibration: Calibration) -> Iterator[list[dict[str, np.ndarray]]]:
    """For every batch of samples, the outputs of each call: one, or one per step of the stream."""
    batch, count = session.manifest.batch, calibration.samples
    for start in range(0, count, batch):
        rows = np.minimum(np.arange(start, start + batch), count - 1)
        arrays = {name: array[rows] for name, array in calibration.inputs.items()}
        if session.manifest.streaming is None:
            yield [session.run(arrays)]
            continue
        (frames,) = arrays.values()
        stepper = Stepper(session.manifest, session.program)
        stepper.reset()
        ends = [END] * session.manifest.streaming.delay
        yield [stepper.step(frame) for frame in [*frames.swapaxes(0, 1), *ends]]


def _values(steps: list[np.ndarray], dense: DenseInput, delay: int) -> np.ndarray:
    """The real values among what a layer saw, each once.

    A window holds zeros while there is no frame; other layers see nothing real before ``delay``.
    """
    if dense.window:
        return np.concatenate([step[:, -1].reshape(-1) for step in steps])
    return np.concatenate([step.reshape(-1) for step in steps[delay:]])


def best_scale(values: np.ndarray) -> float:
    """Worth of one unit of int8: the candidate with the least squared error, clipping included.

    Candidates let ±127 stand for 50 … 100 % of the largest magnitude. 1 for nothing but zeros.
    """
    peak = float(np.abs(values).max(initial=0.0))
    if peak == 0:
        return 1.0
    kept = values[:: -(-len(values) // KEPT)].astype(np.float64)

    def error(scale: float) -> float:
        units = np.clip(round_half_away(kept / scale), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        return float(np.square(units * scale - kept).sum())

    return min((peak * share / WEIGHT_LIMIT for share in SHARES), key=error)
