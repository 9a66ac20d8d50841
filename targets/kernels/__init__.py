"""Scheduled kernels, one folder per operator, and the table that says which op has one."""

from __future__ import annotations

from collections.abc import Sequence

from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels.form import KernelBuilder, KernelForm
from millijoule.targets.kernels.lif import lif_f32
from millijoule.targets.kernels.lmu import lmu_memory_f32, lmu_step_f32
from millijoule.targets.kernels.spike import spike_conv, spike_linear
from millijoule.targets.target import Isa


def _naive(op: str) -> KernelBuilder:
    return lambda attrs, operands, _: KernelForm(VOCABULARY[op].naive(attrs, operands))


def _by_weights(real: KernelBuilder, integer: KernelBuilder) -> KernelBuilder:
    """The builder for the type of the second operand, an op's weights."""

    def build(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
        chosen = integer if operands[1].dtype == "int8" else real
        return chosen(attrs, operands, isa)

    return build


CPU_KERNELS: dict[str, KernelBuilder] = {
    "lif": lif_f32,
    "lif_record": lif_f32,
    "lmu_memory": _by_weights(lmu_memory_f32, _naive("lmu_memory")),
    "lmu_step": lmu_step_f32,
    "spike_conv": spike_conv,
    "spike_linear": spike_linear,
}

__all__ = ["CPU_KERNELS", "KernelBuilder", "KernelForm"]
