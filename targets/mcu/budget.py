"""Refusing a program that the chosen part cannot hold, with the numbers that say why."""

from __future__ import annotations

from millijoule.bundle import Firmware, Manifest
from millijoule.errors import UnsupportedError


def check_budget(manifest: Manifest) -> None:
    """Compare what the program takes with ``manifest.firmware.limits``.

    Raises:
        UnsupportedError: flash or RAM do not suffice.
    """
    firmware = manifest.firmware
    assert firmware is not None
    complaints = [*_flash(firmware), *_ram(firmware, manifest)]
    if complaints:
        part = f"board {firmware.limits.board}" if firmware.limits.board else "the given limits"
        raise UnsupportedError(
            f"[build] {manifest.model.name} does not fit {part}: {'; '.join(complaints)};"
            f" {_remedy(manifest)}; nothing was written"
        )


def _flash(firmware: Firmware) -> list[str]:
    use, limit = firmware.flash, firmware.limits.flash
    if limit is None or use.total <= limit:
        return []
    return [
        f"flash {use.total:,} of {limit:,} bytes (weights {use.weights:,}, code {use.code:,},"
        f" constants {use.rodata:,})"
    ]


def _ram(firmware: Firmware, manifest: Manifest) -> list[str]:
    use, limit, arena = firmware.ram, firmware.limits.ram, manifest.arena
    if limit is None or use.total <= limit:
        return []
    return [
        f"RAM {use.total:,} of {limit:,} bytes before any stack (buffers {arena.planned_bytes:,},"
        f" workspace {arena.workspace_bytes:,}, states 2 × {arena.state_bytes:,}, inputs and"
        f" outputs {use.io:,}, variables {use.context + use.bss:,})"
    ]


def _remedy(manifest: Manifest) -> str:
    ways = []
    if manifest.target.dtype == "float32":
        ways.append("build with --dtype int8")
    if manifest.streaming is None and "streaming" not in manifest.model.hparams:
        ways.append("build a step at a time with --streaming if the model can")
    ways.append("choose a smaller model or a larger part")
    return ", or ".join(ways)
