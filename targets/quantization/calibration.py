"""Which inputs a model is calibrated with, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millijoule.converters.model import Model
from millijoule.errors import UsageError

LABELS = "labels"


@dataclass(frozen=True)
class Calibration:
    """``inputs``: float32 arrays by name, samples along axis 0; ``labels`` int64 [samples]."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray | None
    source: str

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))


def choose_calibration(model: Model, given: Mapping[str, Any] | None) -> Calibration:
    """The inputs given, else those that came with the model, else its sample.

    Raises UsageError for arrays that do not fit the model's inputs.
    """
    if given is not None:
        return _checked(model, given, "given")
    if model.calibration is not None:
        return _checked(model, model.calibration, "shipped with the model")
    return _checked(
        model, model.sample_inputs, "the model's own sample: give more with --calibrate"
    )


def _checked(model: Model, arrays: Mapping[str, Any], source: str) -> Calibration:
    names = list(model.sample_inputs)
    unknown = sorted(set(arrays) - {*names, LABELS})
    missing = sorted(set(names) - set(arrays))
    if unknown or missing:
        wrong = f"has {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise UsageError(
            f"[calibration] {wrong}, but must hold {', '.join(names)}, and may hold {LABELS}"
        )
    inputs = {name: _input(model, name, arrays[name]) for name in names}
    counts = {name: len(array) for name, array in inputs.items()}
    if len(set(counts.values())) > 1:
        raise UsageError(f"[calibration] inputs must have equally many samples, but have {counts}")
    samples = next(iter(counts.values()))
    labels = arrays.get(LABELS)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise UsageError(
                f"[calibration] labels must be {samples} integers, one per sample, "
                f"but are {labels.dtype} {list(labels.shape)}"
            )
        labels = labels.astype(np.int64)
    return Calibration(inputs, labels, source)


def _input(model: Model, name: str, value: Any) -> np.ndarray:
    """One input, as the type that the model takes."""
    sample, array = model.sample_inputs[name], np.asarray(value)
    if array.shape[1:] != sample.shape[1:] or array.ndim != sample.ndim or len(array) == 0:
        raise UsageError(
            f"[calibration] {name!r} must have shape [samples, "
            f"{', '.join(map(str, sample.shape[1:]))}], but has {list(array.shape)}"
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise UsageError(f"[calibration] {name!r} must be finite numbers, but is {array.dtype}")
    return np.ascontiguousarray(array.astype(sample.dtype))
