"""Post-training quantization: a float `Model` and calibration inputs → an int8 `Model`.

The float program runs on the calibration inputs on this machine, returning the inputs of its dense
layers too: their ranges give the scales (`ranges`). `passes.quantize` rewrites the program. Then
the *naive* form of the integer program (`reference`) runs on this machine: what it gives for the
sample is what every target's bundle must give, and what it gives for the calibration inputs is
compared with float (`accuracy`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from millijoule.converters.model import Model
from millijoule.targets.passes.quantize import Rewritten, prepare, quantize_module
from millijoule.targets.quantization.accuracy import compare, rounded
from millijoule.targets.quantization.calibration import Calibration, choose_calibration
from millijoule.targets.quantization.ranges import observe
from millijoule.targets.quantization.reference import run_naive

__all__ = ["SCHEME", "quantize"]

SHARE_OF_ERROR = 0.1
SCHEME = "int8-weights, int32-accumulators, Q15.16 potentials"


def quantize(
    model: Model,
    calibration: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Model:
    """An integer form of the float ``model``; the original is left as it is.

    Args:
        calibration: inputs by name with samples along axis 0, and optionally ``labels`` (int [n]).
            None: those that the model brings along, else its own sample.
        progress: called with the name of each stage.

    Raises UsageError for calibration inputs that do not fit the model, UnsupportedError for layers
    that integers cannot hold.
    """
    chosen = choose_calibration(model, calibration)
    prepared = replace(model, module=prepare(model.module))
    progress(f"calibrating with {chosen.samples} samples")
    scales, float_outputs = observe(prepared, chosen)
    progress("quantizing")
    result = quantize_module(prepared.module, model.layers, scales, len(model.states))
    names = [name for name, _ in model.states]
    integer = replace(
        model,
        module=result.module,
        layers=result.layers,
        states=tuple(zip(names, result.states, strict=True)),
        quantization={"scheme": SCHEME},
    )
    progress("checking int8 against float")
    integer_outputs, expected = run_naive(integer, chosen)
    record = compare(model, chosen, float_outputs, integer_outputs)
    return replace(
        integer,
        sample_outputs=expected,
        tolerance=_tolerance(model, record) if result.notes.rounds_sums else model.tolerance,
        quantization=_record(chosen, result, record),
    )


def _tolerance(model: Model, accuracy: dict[str, Any]) -> dict[str, float]:
    """Tolerances where a real sum is rounded to int8 on the way.

    Sums in another order, or fused with products, may land on the other side of a half, which moves
    one input of a layer by a unit. That is allowed to make a tenth of the difference that
    quantization makes as a whole.
    """
    found = dict(model.tolerance)
    for output, errors in accuracy["outputs"].items():
        for name in (output, f"all_seq_{output}"):
            usual = found.get(name, found["default"])
            found[name] = max(usual, rounded(errors["max_error"] * SHARE_OF_ERROR))
    return found


def _record(
    calibration: Calibration, result: Rewritten, accuracy: dict[str, Any]
) -> dict[str, Any]:
    """What the manifest says of the quantization."""
    layers = [
        {
            "layer": note.layer,
            "op": note.op,
            "sqnr_db": None if np.isinf(note.sqnr_db) else rounded(note.sqnr_db),
            "input_scale": None if note.input_scale is None else rounded(note.input_scale),
        }
        for note in result.notes.layers
    ]
    return {
        "scheme": SCHEME,
        "calibration": {
            "source": calibration.source,
            "samples": calibration.samples,
            "labelled": calibration.labels is not None,
        },
        "accuracy": accuracy,
        "layers": layers,
        "float_layers": list(dict.fromkeys(result.notes.kept)),
        "fraction_bits": dict(result.notes.fractions),
    }
