"""Atomic files: readers see the old file or the whole new one, never a half-written one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import UsageError

__all__ = ["atomic_write", "require_regular"]


def require_regular(path: Path) -> int:
    """Size in bytes of the regular file at ``path``.

    Pipes and devices are refused: reading them may block, or never end.

    Raises:
        UsageError: there is no such file, or it is something else.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot open {path}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"cannot open {path}: it is not a regular file")
    return status.st_size


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the block ends without an exception.

    Raises:
        UsageError: ``path`` cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        stream = open(temporary, "xb")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    try:
        with stream:
            yield stream
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
