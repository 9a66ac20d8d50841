"""Memory: what the program asks for, and what the process really took."""

from __future__ import annotations

import sys
from pathlib import Path

from ..bundle import Manifest
from ..energy import Figure

STATUS = Path("/proc/self/status")
EXACT = "bundle manifest (exact)"


def memory_figures(manifest: Manifest, status: Path = STATUS) -> dict[str, Figure]:
    """Sizes in bytes by name; peak memory is that of the whole process, Python included."""
    return {**sizes(manifest), "peak_process_bytes": peak_process(status)}


def sizes(manifest: Manifest) -> dict[str, Figure]:
    """What the program asks for, in bytes by name."""
    arena = manifest.arena
    listed = {
        "arena_bytes": arena.bytes,
        "planned_bytes": arena.planned_bytes,
        "workspace_bytes": arena.workspace_bytes,
        "state_bytes": arena.state_bytes,
        "weight_bytes": _file_bytes(manifest, manifest.program.weights),
        "library_bytes": _file_bytes(manifest, manifest.program.library),
    }
    return {
        name: Figure.measured(size, "bytes", EXACT)
        if size is not None
        else Figure.unavailable("bytes", "the manifest does not list the file")
        for name, size in listed.items()
    }


def _file_bytes(manifest: Manifest, name: str) -> int | None:
    entry = manifest.files.get(name)
    return entry.bytes if entry else None


def peak_process(status: Path = STATUS) -> Figure:
    """Peak resident memory of this process, Python and its libraries included."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return _getrusage()
    return Figure.measured(kilobytes * 1024, "bytes", "VmHWM in /proc/self/status")


def _getrusage() -> Figure:
    try:
        import resource
    except ImportError:
        return Figure.unavailable("bytes", "no /proc/self/status and no resource module here")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return Figure.measured(peak * (1 if sys.platform == "darwin" else 1024), "bytes", "getrusage")
