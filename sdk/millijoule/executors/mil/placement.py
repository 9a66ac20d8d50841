"""Where Core ML means to calculate each operator: its compute plan (macOS 14.4, coremltools 8)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Placement", "placements"]

_KERNEL = re.compile(r"k(\d+)_")  # our names of operators start with the number of their kernel
_DEVICES = {
    "MLCPUComputeDevice": "CPU",
    "MLGPUComputeDevice": "GPU",
    "MLNeuralEngineComputeDevice": "Neural Engine",
}


@dataclass(frozen=True)
class Placement:
    """One operator of the compiled program.

    Attributes:
        operator: its type, such as "ios18.matmul".
        name: what it is called in the program.
        kernel: number of the kernel in the manifest that it is part of; None if Core ML made it.
        device: what Core ML prefers for it; "" if it does not say.
        supported: everything that could calculate it.
        weight: share of the whole program's time that Core ML expects, 0 … 1; None if unknown.
    """

    operator: str
    name: str
    kernel: int | None
    device: str
    supported: tuple[str, ...]
    weight: float | None


def placements(ct: Any, model: Any, units: Any) -> list[Placement]:
    """The plan of ``model``, a loaded ``MLModel``, in order of its operators; constants left out.

    Args:
        ct: the module ``coremltools``.
        model: loaded with the compute units ``units``.
    """
    plan = ct.models.compute_plan.MLComputePlan.load_from_path(
        path=model.get_compiled_model_path(), compute_units=units
    )
    block = plan.model_structure.program.functions["main"].block
    found = []
    for operation in _operations(block):
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        if usage is None and cost is None:
            continue
        name = operation.outputs[0].name if operation.outputs else ""
        kernel = _KERNEL.match(name)
        found.append(
            Placement(
                operation.operator_name,
                name,
                int(kernel[1]) if kernel else None,
                _name(usage.preferred_compute_device) if usage else "",
                tuple(_name(d) for d in usage.supported_compute_devices) if usage else (),
                cost.weight if cost else None,
            )
        )
    return found


def _operations(block: Any) -> Iterator[Any]:
    """Operators of ``block`` and of the blocks in it, such as a loop's body."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _name(device: Any) -> str:
    kind = type(device).__name__
    return _DEVICES.get(kind, kind)
