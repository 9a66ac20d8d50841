"""Every error that Millijoule raises on purpose.

The message of an :class:`MjError` is one line for the user: where, the rule, the value received,
and what to do. The class fixes the exit code of the command line.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BundleError",
    "DeviceError",
    "MjError",
    "ModelError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
]


class MjError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is a single line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class VerificationError(MjError):
    """Outputs differ from the expected ones, or a figure got worse than its limit."""

    exit_code = 1


class UsageError(MjError):
    """A bad argument: an unknown name, a wrong shape or dtype, NaN in an input, a bad file."""

    exit_code = 2


class UnsupportedError(MjError):
    """A model, operator or variant that the chosen target does not support."""

    exit_code = 3


class ModelError(UnsupportedError):
    """A model that cannot be read: missing or misshapen tensors, a bad configuration."""


class DeviceError(MjError):
    """The device, the program on it, or the toolchain failed."""

    exit_code = 4


class BundleError(MjError):
    """A bundle that is damaged, malformed, or of an unknown schema."""

    exit_code = 5
