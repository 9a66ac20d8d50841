"""``mj.profile`` of a program on an emulated device: instructions instead of time and energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle import Manifest
from ..energy import AUTO, OFF, Figure, Meter
from ..errors import UsageError
from ..remote.devices import Device, emulator_version, get_device
from ..remote.elf import code_bytes
from ..remote.emulated import EmulatedProgram
from .baseline import FORMAT, SCHEMA
from .conditions import record_conditions
from .describe import describe
from .energy import estimated_energy, no_energy
from .instructions import MAX_CALLS, count_instructions
from .memory import sizes
from .operations import count_operations
from .result import Profile
from .sizes import manifest_of
from .workload import Workload

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["profile_emulated"]

REASON = "emulated device: it executes the program's instructions, but has no clock and no power"
_WARNING = (
    "instructions were counted in an emulator; they are not cycles: caches, memory and pipeline of"
    " the real part decide how long each takes"
)


def profile_emulated(
    session: Session,
    inputs: Mapping[str, np.ndarray],
    *,
    energy: str | Meter,
    refused: Mapping[str, bool],
    layers: bool,
    cost_tables: Sequence[str],
    command: Sequence[str] | None,
    progress: Callable[[str], None],
) -> Profile:
    """Count one pass over the inputs; arguments as for :func:`millijoule.profile`.

    Args:
        refused: arguments that need a clock or several threads, and whether they were given.

    Raises:
        UsageError: an argument that an emulated device cannot serve.
        DeviceError: the program failed.
    """
    device = get_device(session.device)
    if session.manifest.cuda is not None:
        raise UsageError(
            f"[profile] device {device.name} runs the GPU's kernels on a processor, whose"
            " instructions say nothing of the GPU; profile on the device itself"
        )
    _check(device, energy, refused)
    progress(f"starting {device.name} with the counting plugin")
    program = EmulatedProgram(session.bundle, device, counting=True)
    try:
        workload = Workload(session.manifest, program, inputs)
        progress("counting instructions")
        counts, stack = count_instructions(
            workload, program, session.manifest.kernels, source_of(device)
        )
        if not layers:
            for name in ("kernels", "layers", "ops"):
                counts[name] = []
        operations, estimated = None, []
        if layers:
            progress("spikes and operations")
            manifest = manifest_of(session, workload)
            counted = count_operations(manifest, workload)
            operations = counted.to_dict()
            estimated = estimated_energy(manifest, counted, cost_tables)
    finally:
        program.close()
    nothing = Figure.unavailable("ms", REASON).to_dict()
    return Profile(
        {
            "format": FORMAT,
            "schema": SCHEMA,
            "bundle": describe(session.manifest),
            "unit": workload.unit,
            "sizes": workload.sizes,
            "conditions": _conditions(device, command),
            "latency": nothing,
            "cold_start": {"load_ms": nothing, "first_inference_ms": nothing, "total_ms": nothing},
            "real_time": None,
            "sustained": None,
            "energy": {"measured": no_energy(REASON), "estimated": estimated},
            "layers": None,
            "run": None,
            "instructions": {**counts, "frame": _frame(session.manifest, workload)},
            "operations": operations,
            "memory": _memory(session, stack),
            "warnings": _warnings(workload),
        }
    )


def _check(device: Device, energy: str | Meter, refused: Mapping[str, bool]) -> None:
    wrong = [name for name, given in refused.items() if given]
    if isinstance(energy, Meter) or energy not in (AUTO, OFF):
        wrong.append("energy")
    if wrong:
        raise UsageError(
            f"[profile] {device.name} counts the instructions of one thread and has no clock: leave"
            f" out {', '.join(wrong)}, or measure on real hardware"
        )


def source_of(device: Device) -> str:
    """What counted, in words: emulator, version, processor."""
    board = f" on {device.machine}" if device.machine else ", user emulation"
    version = emulator_version(device.emulator)
    return f"QEMU {version} ({device.emulator}) with Millijoule's plugin, -cpu {device.cpu}{board}"


def _conditions(device: Device, command: Sequence[str] | None) -> dict[str, Any]:
    """As of the machine that emulates; what describes its processor is left out."""
    conditions = record_conditions(1, command)
    host = conditions["cpu_model"]
    absent = dict.fromkeys(("governor", "power_mode", "frequency_mhz", "load_average"))
    version = emulator_version(device.emulator)
    return {
        **conditions,
        **absent,
        "cpu_model": f"{device.cpu}, emulated by QEMU {version}",
        "cpus": 1,
        "cpus_allowed": 1,
        "virtual_machine": False,
        "temperatures_c": {},
        "device": {
            "name": device.name,
            "emulator": device.emulator,
            "version": version,
            "cpu": device.cpu,
            "machine": device.machine or None,
            "note": device.note,
            "emulated_on": host,
        },
    }


def _memory(session: Session, stack: int) -> dict[str, Any]:
    """Sizes of the program, and the stack that it really took."""
    manifest = session.manifest
    figures = {**sizes(manifest), **_code(session)}
    painted = "painted stack, deepest of all calls, below the caller of mj_run"
    figures["stack_bytes"] = Figure.measured(stack, "bytes", painted)
    return {name: figure.to_dict() for name, figure in figures.items()}


def _code(session: Session) -> dict[str, Figure]:
    firmware = session.manifest.firmware
    if firmware is None:
        library = session.bundle.read(session.manifest.program.library)
        found = code_bytes(library)
        return {"code_bytes": Figure.measured(found, "bytes", "executable sections of the library")}
    source = "sections of an image linked by the build"
    return {
        "code_bytes": Figure.measured(firmware.flash.code, "bytes", source),
        "flash_bytes": Figure.measured(firmware.flash.total, "bytes", source),
        "ram_bytes": Figure.measured(firmware.ram.total, "bytes", f"{source}, stack excluded"),
    }


def _frame(manifest: Manifest, workload: Workload) -> dict[str, Any] | None:
    """Shift of a stream's frames, to set the instructions against."""
    shift = (manifest.model.frontend or {}).get("shift_ms")
    if not workload.streaming or not isinstance(shift, (int, float)) or shift <= 0:
        return None
    return {"frame_shift_ms": float(shift)}


def _warnings(workload: Workload) -> list[str]:
    warnings = [_WARNING]
    if len(workload.calls) > MAX_CALLS:
        warnings.append(f"counted over the first {MAX_CALLS} of {len(workload.calls)} calls")
    return warnings
