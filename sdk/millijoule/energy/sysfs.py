"""Reading sysfs attributes, with every failure turned into :class:`UnavailableError`."""

from __future__ import annotations

from pathlib import Path

from .meter import UnavailableError


def read_text(path: Path, remedy: str = "") -> str:
    """Content of an attribute without surrounding blanks.

    Args:
        path: The attribute file.
        remedy: What to do when the permission is denied.

    Raises:
        UnavailableError: The file is missing, unreadable, or the driver answers with an error.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise UnavailableError(f"{path} does not exist") from None
    except PermissionError:
        raise UnavailableError(f"permission denied: {path}", remedy) from None
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror or error}") from None


def read_int(path: Path, remedy: str = "") -> int:
    """An attribute that holds one decimal integer. Raises UnavailableError otherwise."""
    text = read_text(path, remedy)
    try:
        return int(text)
    except ValueError:
        raise UnavailableError(f"{path} holds {text[:40]!r} instead of an integer") from None
