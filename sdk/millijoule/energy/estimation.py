"""Estimated energy from operation counts and memory traffic.

``E = Σ ops · price(op) + Σ bytes · price(level)``. Arithmetic and memory are separate lines:
memory usually decides, and papers usually leave it out. Counts are the *actual* ones: spike-driven
layers accumulate once per spike that really occurred. Nothing here is a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .costs import CostTable, MemoryLevel
from .figure import Figure

_PJ_TO_MJ = 1e-9


@dataclass(frozen=True)
class Work:
    """What one kernel does per run.

    Attributes:
        layer: Layer it belongs to.
        multiplies, adds, binary_ops: Operation counts (averages may be fractional).
        weight_bytes: Weight bytes it reads.
        activation_bytes: Activation and state bytes it reads and writes.
        dtype: What it computes on; ``None``: what the program computes on.
    """

    layer: str
    multiplies: float
    adds: float
    binary_ops: float = 0.0
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    dtype: str | None = None


@dataclass(frozen=True)
class EnergyEstimate:
    """Estimated energy of one run, in mJ.

    Attributes:
        table: Name of the cost table; ``source``: its citation.
        compute_mj, memory_mj, total_mj: Figures, all ``estimated`` or ``unavailable``.
        layers_mj: Arithmetic energy per layer, in order of first appearance.
        assumptions: Where weights and activations are taken to live, and how they are priced.
        leaves_out: What the numbers do not contain.
    """

    table: str
    source: str
    compute_mj: Figure
    memory_mj: Figure
    total_mj: Figure
    layers_mj: dict[str, Figure]
    assumptions: tuple[str, ...]
    leaves_out: tuple[str, ...]


def estimate(
    work: Sequence[Work], table: CostTable, *, dtype: str, weight_bytes: int, arena_bytes: int
) -> EnergyEstimate:
    """Estimate the energy of one run.

    Args:
        work: Counts per kernel.
        table: The prices.
        dtype: The program's dtype (``float32``, ``float16``, ``int8``).
        weight_bytes: Size of all weights: decides which memory level they are read from.
        arena_bytes: Size of the arena: decides the level of activations and states.
    """
    layers: dict[str, Figure] = {}
    for name in dict.fromkeys(item.layer for item in work):
        layers[name] = _compute([item for item in work if item.layer == name], table, dtype)
    compute = _compute(work, table, dtype)
    memory, assumptions = _memory(work, table, weight_bytes, arena_bytes)
    return EnergyEstimate(
        table=table.name,
        source=table.source,
        compute_mj=compute,
        memory_mj=memory,
        total_mj=_total(compute, memory),
        layers_mj=layers,
        assumptions=assumptions,
        leaves_out=table.leaves_out,
    )


def _compute(work: Sequence[Work], table: CostTable, dtype: str) -> Figure:
    for used in dict.fromkeys(item.dtype or dtype for item in work):
        if used not in table.multiply_pj:
            priced = ", ".join(table.multiply_pj)
            reason = f"{table.name} has no price for {used}, only for {priced}"
            return Figure.unavailable("mJ", reason)
    binary = sum(item.binary_ops for item in work)
    if binary and table.binary_pj is None:
        return Figure.unavailable("mJ", f"{table.name} has no price for 1-bit operations")
    picojoules = binary * (table.binary_pj or 0.0) + sum(
        item.multiplies * table.multiply_pj[item.dtype or dtype]
        + item.adds * table.add_pj[item.dtype or dtype]
        for item in work
    )
    return Figure.estimated(picojoules * _PJ_TO_MJ, "mJ", table.name)


def _memory(
    work: Sequence[Work], table: CostTable, weight_bytes: int, arena_bytes: int
) -> tuple[Figure, tuple[str, ...]]:
    weights, activations = table.level_for(weight_bytes), table.level_for(arena_bytes)
    if weights is None or activations is None:
        return Figure.unavailable("mJ", f"{table.name} has no price for memory"), ()
    moved = (
        (sum(item.weight_bytes for item in work), weights),
        (sum(item.activation_bytes for item in work), activations),
    )
    low = sum(count * level.low_pj for count, level in moved)
    high = sum(count * level.high_pj for count, level in moved)
    figure = Figure.estimated(
        (low + high) / 2 * _PJ_TO_MJ,
        "mJ",
        table.name,
        uncertainty=(high - low) / 2 * _PJ_TO_MJ,
    )
    return figure, (
        _placement("weights", weight_bytes, weights),
        _placement("activations and states", arena_bytes, activations),
        "every byte a kernel reads or writes moves once between that level and the processor",
    )


def _placement(what: str, size: int, level: MemoryLevel) -> str:
    price = f"{level.low_pj:g}"
    if level.high_pj != level.low_pj:
        price += f"–{level.high_pj:g}"
    return f"{what} ({size:,} bytes) live in {level.name} at {price} pJ per byte"


def _total(compute: Figure, memory: Figure) -> Figure:
    if compute.value is None or memory.value is None:
        reason = compute.reason if compute.value is None else memory.reason
        return Figure.unavailable("mJ", reason)
    return Figure.estimated(
        compute.value + memory.value, "mJ", compute.source, uncertainty=memory.uncertainty
    )
