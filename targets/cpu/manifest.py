"""A `Plan` → the kernel list of the manifest: arithmetic, traffic, where outputs can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from millijoule.bundle import Kernel, KernelOutput, SpikeInput
from millijoule.sizes import Extent, Size, most
from millijoule.targets.cpu.plan import KernelCall, Plan, Ref
from millijoule.targets.describe import size_texts


def describe_kernels(
    plan: Plan, batch: int, aliases: Mapping[str, str] | None = None
) -> tuple[Kernel, ...]:
    """One entry per kernel call, in call order; ``aliases``: names to publish for others."""
    names = {place: (aliases or {}).get(n, n) for place, n in _output_names(plan, batch).items()}
    # whose spikes lie at the bytes that a Ref starts at
    drivers: dict[tuple[str, int], _Driver | None] = {}
    kernels = []
    for index, call in enumerate(plan.calls):
        kernels.append(_describe(call, index, names, drivers, batch))
        for position, ref in enumerate(call.outputs):
            name = names.get((index, position))
            driver = _Driver(name) if name else _window_driver(call, drivers)
            drivers[ref.space, ref.offset] = driver
    return tuple(kernels)


@dataclass(frozen=True)
class _Driver:
    """Spikes that can be read out: those of ``tap``, each of which is read ``reads`` times."""

    tap: str
    reads: float = 1


def _window_driver(
    call: KernelCall, drivers: dict[tuple[str, int], _Driver | None]
) -> _Driver | None:
    """The driver of a stream's window of steps, which is a state: the newest step's.

    As the window moves on, every spike is read as often as the window is long.
    """
    window = call.outputs[0]
    if call.meta.op != "concat" or window.space != "output":
        return None
    newest = call.operands[-1]
    driver = drivers.get((newest.space, newest.offset))
    if driver is None:
        return None
    return _Driver(driver.tap, driver.reads * window.type.size / newest.type.size)


def _describe(
    call: KernelCall,
    index: int,
    names: dict[tuple[int, int], str],
    drivers: dict[tuple[str, int], _Driver | None],
    batch: int,
) -> Kernel:
    meta = call.meta
    operands = call.operands
    results = call.outputs[: meta.results]
    weights = [r for r in operands if r.space == "weights"]
    counts: dict[str, Extent] = {
        "multiplies": meta.multiplies,
        "adds": meta.adds,
        "binary_ops": meta.binary_ops,
        "bytes_read": _bytes(operands),
        "bytes_written": _bytes(results),
    }
    return Kernel(
        name=call.symbol,
        op=meta.op,
        layer=meta.layer,
        **{name: most(count) for name, count in counts.items()},
        weight_bytes=_total(weights),
        outputs=tuple(
            KernelOutput(
                name=names.get((index, i)),
                offset=ref.offset if ref.space == "arena" else None,
                shape=ref.type.largest.shape,
                sizes=size_texts(ref.type),
                dtype=ref.type.dtype,
                batch_axis=0 if ref.type.shape and ref.type.shape[0] == batch else None,
            )
            for i, ref in enumerate(results)
        ),
        spike_input=_spike_input(call, drivers),
        sizes={name: str(c) for name, c in counts.items() if isinstance(c, Size)},
    )


def _spike_input(
    call: KernelCall, drivers: dict[tuple[str, int], _Driver | None]
) -> SpikeInput | None:
    meta = call.meta
    if meta.spike_operand is None:
        return None
    source = call.operands[meta.spike_operand]
    driver = drivers.get((source.space, source.offset))
    if driver is None:
        return None
    return SpikeInput(driver.tap, meta.adds_per_spike * driver.reads, meta.adds)


def _output_names(plan: Plan, batch: int) -> dict[tuple[int, int], str]:
    """Names of kernel outputs in the arena: the op's tap, else the layer, else what they feed.

    Only first results are named (by their layer if samples lie along their first axis), second
    ones that the op taps, and whatever a spike-driven kernel reads; a second output of the same
    name gets a number.
    """
    names: dict[tuple[int, int], str] = {}
    last: dict[tuple[str, int], tuple[int, int]] = {}
    wanted: dict[tuple[int, int], str] = {}
    for index, call in enumerate(plan.calls):
        operand = call.meta.spike_operand
        if operand is not None:
            source = call.operands[operand]
            place = last.get((source.space, source.offset))
            if place is not None:
                wanted.setdefault(place, f"input:{call.meta.layer}")
        for position, ref in enumerate(call.outputs):
            last[ref.space, ref.offset] = (index, position)
        if call.outputs and call.outputs[0].space == "arena":
            by_sample = call.outputs[0].type.shape[:1] == (batch,)
            name = call.meta.tap or (call.meta.layer if by_sample else "")
            if name and call.meta.named:
                names[index, 0] = name
        if call.meta.second_tap and call.outputs[1].space == "arena":
            names[index, 1] = call.meta.second_tap
    for place, name in wanted.items():
        if _ref(plan, place).space == "arena":
            names.setdefault(place, name)
    _number_repeats(names)
    return names


def _number_repeats(names: dict[tuple[int, int], str]) -> None:
    counts: Counter[str] = Counter()
    for place in sorted(names):
        counts[names[place]] += 1
        if counts[names[place]] > 1:
            names[place] = f"{names[place]}#{counts[names[place]]}"


def _ref(plan: Plan, place: tuple[int, int]) -> Ref:
    return plan.calls[place[0]].outputs[place[1]]


def _total(refs: list[Ref] | tuple[Ref, ...]) -> int:
    return sum(r.type.nbytes for r in refs)


def _bytes(refs: tuple[Ref, ...]) -> Extent:
    """Bytes of ``refs``, which vary with their shapes."""
    total: Extent = 0
    for ref in refs:
        total = total + ref.type.size * np.dtype(ref.type.dtype).itemsize
    return total
