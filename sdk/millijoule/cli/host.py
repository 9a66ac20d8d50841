"""Using the host side (converters, targets), which a device need not have installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DeviceError

__all__ = ["host_side"]


@contextmanager
def host_side() -> Iterator[None]:
    """Turn an :class:`ImportError` inside the block into advice.

    Raises:
        DeviceError: a package that the host side needs is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise DeviceError(
            f"this needs a package that is not installed here ({error}); run"
            " `pip install 'millijoule[convert]'`"
        ) from error
