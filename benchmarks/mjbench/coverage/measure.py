"""One model of the list: converted, built for this machine, run, and compared with torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import millijoule as mj
from millijoule.converters import convert
from millijoule.targets import build
from millijoule.targets.support import check_model
from mjbench.coverage.language import LANGUAGE, language_model
from mjbench.coverage.vision import VISION, vision_model

NAMES = (*VISION, *LANGUAGE)
LIMIT = 1e-4  # largest error relative to the largest value of an output


@dataclass
class Covered:
    """What building a model took, and how far its outputs are from torch's.

    ``unscheduled``: kernel calls that are TVM's generated loops, without a schedule of ours.
    """

    name: str
    parameters: int
    convert_seconds: float
    build_seconds: float
    cpu_seconds: float
    max_relative_error: float
    kernels: int
    unscheduled: int


def make(name: str, small: bool) -> tuple[nn.Module, Any]:
    """The model and its example inputs; parameters that start as zeros are random.

    Zero heads and layer scales would hide what stands in front of them.
    """
    module, inputs = (vision_model if name in VISION else language_model)(name, small)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.count_nonzero():
                parameter.normal_(0, 0.05, generator=generator)
    return module, inputs


def measure(name: str, small: bool, folder: Path, count_kernels: bool = True) -> Covered:
    """Build ``name`` and compare; raises what `convert` and `build` raise."""
    module, inputs = make(name, small)
    start, cpu = time.perf_counter(), time.process_time()
    model = convert(module, example_inputs=inputs, name=name)
    converted = time.perf_counter()
    with build(model, "host", folder / "model.mjb") as bundle:
        built, used = time.perf_counter(), time.process_time() - cpu
        kernels = len(bundle.manifest.kernels)
    with mj.load(folder / "model.mjb") as session:
        results = session.run(dict(model.sample_inputs))
    return Covered(
        name,
        model.parameters,
        converted - start,
        built - converted,
        used,
        max(_error(results[key], want) for key, want in model.sample_outputs.items()),
        kernels,
        check_model(model, "host").unscheduled if count_kernels else -1,
    )


def _error(got: np.ndarray, want: np.ndarray) -> float:
    """Largest difference over the largest value; infinite for NaN."""
    if not want.size:
        return 0.0
    worst = float(np.abs(got.astype(np.float64) - want).max())
    scale = float(np.abs(want).max()) or 1.0
    return worst / scale if np.isfinite(worst) else float("inf")
