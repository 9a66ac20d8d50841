"""Scheduled kernels, one folder per operator, and the table that says which op has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millijoule.targets.kernels.binary.attention import binary_attention
from millijoule.targets.kernels.binary.embedding import binary_embedding
from millijoule.targets.kernels.binary.linear import binary_linear
from millijoule.targets.kernels.binary.words import TERNARY, has_zero
from millijoule.targets.kernels.form import KernelBuilder, KernelForm
from millijoule.targets.kernels.lif import lif_f32
from millijoule.targets.kernels.lif.fixed import KNOWN, known_rows, lif_fixed
from millijoule.targets.kernels.lmu import lmu_memory, lmu_step, lmu_step_fixed
from millijoule.targets.kernels.quantize import quantize
from millijoule.targets.kernels.rescale import rescale
from millijoule.targets.kernels.spike import spike_conv, spike_linear

CPU_KERNELS: dict[str, KernelBuilder] = {
    "binary_attention": binary_attention,
    "binary_embedding": binary_embedding,
    "binary_linear": binary_linear,
    "lif": lif_f32,
    "lif_fixed": lif_fixed,
    "lif_record": lif_f32,
    "lmu_memory": lmu_memory,
    "lmu_step": lmu_step,
    "lmu_step_fixed": lmu_step_fixed,
    "quantize": quantize,
    "rescale": rescale,
    "spike_conv": spike_conv,
    "spike_linear": spike_linear,
}

# What a kernel may know of constant operands when it is built: op → attribute, operand, function
CONSTANT_FACTS: dict[str, tuple[str, int, Callable[[np.ndarray], Any]]] = {
    "binary_embedding": (TERNARY, 1, has_zero),
    "binary_linear": (TERNARY, 1, has_zero),
    "lif_fixed": (KNOWN, 1, known_rows),
}

__all__ = ["CONSTANT_FACTS", "CPU_KERNELS", "KernelBuilder", "KernelForm"]
