"""From a converted model to a bundle for one target. Host only (needs TVM)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from millijoule.bundle import EMIT, Limits
from millijoule.errors import UnsupportedError, UsageError
from millijoule.targets.target import Target, get_target, list_targets

if TYPE_CHECKING:
    from millijoule.bundle import Bundle
    from millijoule.converters.model import Model

__all__ = ["Target", "build", "get_target", "list_targets"]


def build(
    model: Model,
    target: str = "host",
    out: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    emit: str = "object",
    dtype: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Compile ``model``, write the bundle ``out`` (default ``<model name>.mjb``); return it open.

    Args:
        model: from `millijoule.convert`.
        target: a name of ``mj targets``.
        threads: how many threads a session uses unless it is told otherwise (default 1).
        emit: "object"; "c" is refused until a target offers it.
        dtype: only the model's own, "float32", so far.
        progress: called with the name of each stage.

    Raises UsageError for an unknown target or dtype, UnsupportedError for a model that the target
    cannot hold, DeviceError if the C compiler is missing or fails. Nothing half-written stays.
    """
    chosen = get_target(target)
    if emit not in EMIT:
        raise UsageError(f"[build] emit must be one of {', '.join(EMIT)}, but is {emit!r}")
    if dtype not in (None, "float32"):
        raise UnsupportedError(f"[build] target {target} computes in float32 only, not {dtype}")
    if threads is not None and threads < 1:
        raise UsageError(f"[build] threads must be at least 1, but is {threads}")
    path = Path(out) if out is not None else Path(f"{model.name}.mjb")
    report = progress or (lambda stage: None)
    if chosen.bare_metal:
        if (threads or 1) != 1:
            raise UsageError(f"[build] target {target} has one thread, but threads is {threads}")
        from millijoule.targets.mcu.build import build_mcu

        return build_mcu(model, chosen, path, emit=emit, limits=Limits(), progress=report)
    if emit != "object":
        raise UnsupportedError(f"[build] target {target} emits objects only, not {emit!r}")
    from millijoule.targets.cpu.build import build_cpu

    return build_cpu(model, chosen, path, threads or 1, report)
