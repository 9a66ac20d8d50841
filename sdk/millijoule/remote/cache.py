"""Compiled helpers, kept between runs: they depend on sources and compilers, not on models."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["cached"]

VARIABLE = "MJ_CACHE_DIR"


def _folder() -> Path:
    """``$MJ_CACHE_DIR``, else ``millijoule`` in the user's cache, else in the temporary folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    if home:
        base = Path(home) if os.environ.get("XDG_CACHE_HOME") else Path(home) / ".cache"
        if os.access(base if base.exists() else base.parent, os.W_OK):
            return base / "millijoule"
    return Path(tempfile.gettempdir()) / f"millijoule-{os.getuid()}"


def cached(
    name: str, sources: Iterable[Path], conditions: str, make: Callable[[Path], None]
) -> Path:
    """The file ``name`` made of ``sources`` under ``conditions``; ``make(path)`` if there is none.

    Several processes may ask at once: each makes its own, and the last one stays.
    """
    digest = hashlib.sha256(conditions.encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = _folder() / digest.hexdigest()[:32]
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / name
            make(made)
            os.replace(made, path)
    return path
