"""The naive form of a program, run on this machine: the meaning that every target is held to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from millijoule.converters.model import Model
from millijoule.session import Session, load
from millijoule.targets.cpu.build import build_cpu
from millijoule.targets.quantization.calibration import Calibration
from millijoule.targets.target import get_target


@contextmanager
def built(model: Model, *, naive: bool) -> Iterator[Session]:
    """A session of ``model`` compiled for this machine; the bundle is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="millijoule-") as folder:
        path = Path(folder) / "reference.mjb"
        build_cpu(model, get_target("host"), path, 1, lambda stage: None, naive=naive).close()
        with load(path) as session:
            yield session


def run_naive(
    model: Model, calibration: Calibration
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Naive outputs for the calibration inputs, and everything expected for the model's sample."""
    with built(model, naive=True) as session:
        results = session.run(calibration.inputs)
        taps = [name for name in model.sample_outputs if name in session.taps]
        expected = session.run(model.sample_inputs, taps)
    outputs = {name: results[name] for name, _ in model.outputs}
    kept = {name: expected[name] for name in model.sample_outputs if name in expected}
    return outputs, kept
