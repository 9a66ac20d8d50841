"""How far an integer program is from the float one, on the calibration inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from millijoule.converters.model import Model
from millijoule.targets.quantization.calibration import Calibration


def rounded(value: float) -> float:
    """Six significant digits: what lies behind them is noise."""
    return float(f"{value:.6g}")


def compare(
    model: Model,
    calibration: Calibration,
    float_outputs: dict[str, np.ndarray],
    integer_outputs: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Errors of every real output; agreement of the decisions, and both accuracies with labels."""
    record: dict[str, Any] = {
        "outputs": {
            name: _errors(float_outputs[name], integer_outputs[name])
            for name, t in model.outputs
            if t.dtype == "float32"
        }
    }
    name = model.outputs[0][0]
    scores, integer_scores = float_outputs[name], integer_outputs[name]
    if scores.ndim != 2 or scores.shape[1] < 2:
        return record
    decided, integer_decided = scores.argmax(1), integer_scores.argmax(1)
    record["agreement"] = rounded(np.mean(decided == integer_decided))
    if calibration.labels is not None:
        record["float_accuracy"] = rounded(np.mean(decided == calibration.labels))
        record["int8_accuracy"] = rounded(np.mean(integer_decided == calibration.labels))
    return record


def _errors(reference: np.ndarray, approximation: np.ndarray) -> dict[str, float]:
    """Largest and root-mean-square error, and the root mean square of the values themselves."""
    error = approximation.astype(np.float64) - reference
    return {
        "max_error": rounded(np.abs(error).max()),
        "rms_error": rounded(np.sqrt(np.square(error).mean())),
        "rms": rounded(np.sqrt(np.square(reference.astype(np.float64)).mean())),
    }
