"""The table of kernels for GPUs: CUDA C and, in tests, OpenCL C out of one source."""

from __future__ import annotations

from millijoule.targets.kernels.binary.attention import binary_attention
from millijoule.targets.kernels.binary.embedding import binary_embedding
from millijoule.targets.kernels.binary.linear import binary_linear
from millijoule.targets.kernels.form import KernelBuilder
from millijoule.targets.kernels.lif.gpu import lif_fixed_gpu, lif_gpu
from millijoule.targets.kernels.lmu.gpu import (
    lmu_memory_gpu,
    lmu_step_fixed_gpu,
    lmu_step_gpu,
)
from millijoule.targets.kernels.quantize import quantize
from millijoule.targets.kernels.rescale import rescale
from millijoule.targets.kernels.spike.gpu import spike_conv_gpu, spike_linear_gpu

GPU_KERNELS: dict[str, KernelBuilder] = {
    "binary_attention": binary_attention,
    "binary_embedding": binary_embedding,
    "binary_linear": binary_linear,
    "lif": lif_gpu,
    "lif_fixed": lif_fixed_gpu,
    "lif_record": lif_gpu,
    "lmu_memory": lmu_memory_gpu,
    "lmu_step": lmu_step_gpu,
    "lmu_step_fixed": lmu_step_fixed_gpu,
    "quantize": quantize,
    "rescale": rescale,
    "spike_conv": spike_conv_gpu,
    "spike_linear": spike_linear_gpu,
}
