"""Scheduled kernels, one folder per operator, and the table that says which op has one."""

from __future__ import annotations

from millijoule.targets.kernels.form import KernelBuilder, KernelForm
from millijoule.targets.kernels.lif import lif_f32
from millijoule.targets.kernels.lmu import lmu_memory_f32, lmu_step_f32
from millijoule.targets.kernels.spike import spike_conv_f32, spike_linear_f32

CPU_KERNELS: dict[str, KernelBuilder] = {
    "lif": lif_f32,
    "lif_record": lif_f32,
    "lmu_memory": lmu_memory_f32,
    "lmu_step": lmu_step_f32,
    "spike_conv": spike_conv_f32,
    "spike_linear": spike_linear_f32,
}

__all__ = ["CPU_KERNELS", "KernelBuilder", "KernelForm"]
