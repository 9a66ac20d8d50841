"""The part of a manifest that only programs for bare metal have: flags, flash, RAM, limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from .fields import Fields

__all__ = ["EMIT", "STATIC_LIBRARY", "Firmware", "FlashUse", "Limits", "RamUse"]

#: ``program.kind`` of programs for bare metal.
STATIC_LIBRARY = "static-library"

#: What ``program.library`` holds: machine code in an archive, or C source.
EMIT = ("object", "c")

_MAX_BYTES = 1 << 34
_MAX_FLAGS = 64


@dataclass(frozen=True)
class FlashUse:
    """Bytes of flash: machine code with the libc it calls, its constants and initial data, weights.

    ``total`` is their sum. Start-up code and the application come on top.
    """

    code: int
    rodata: int
    weights: int
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.code + self.rodata + self.weights)

    @classmethod
    def from_json(cls, fields: Fields) -> FlashUse:
        """Read ``firmware.flash``."""
        with fields:
            use = cls(*(_size(fields, name) for name in ("code", "rodata", "weights")))
            _check_total(fields, use.total)
            return use


@dataclass(frozen=True)
class RamUse:
    """Bytes of RAM: arena, context, one buffer per input and output (``io``), static variables.

    ``total`` is their sum. The stack and the application come on top.
    """

    arena: int
    context: int
    io: int
    bss: int
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.arena + self.context + self.io + self.bss)

    @classmethod
    def from_json(cls, fields: Fields) -> RamUse:
        """Read ``firmware.ram``."""
        with fields:
            use = cls(*(_size(fields, name) for name in ("arena", "context", "io", "bss")))
            _check_total(fields, use.total)
            return use


@dataclass(frozen=True)
class Limits:
    """Bytes that the chosen part has; None where nothing was chosen."""

    board: str | None = None
    flash: int | None = None
    ram: int | None = None

    @classmethod
    def from_json(cls, fields: Fields) -> Limits:
        """Read ``firmware.limits``."""
        with fields:
            return cls(
                board=fields.text("board") if fields.has("board") else None,
                flash=fields.integer("flash", 1, _MAX_BYTES) if fields.has("flash") else None,
                ram=fields.integer("ram", 1, _MAX_BYTES) if fields.has("ram") else None,
            )


@dataclass(frozen=True)
class Firmware:
    """How to compile and link against the library, and what it takes.

    ``flags``: the compiler's, for this core; ``toolchain``: the compiler that measured the sizes.
    """

    flags: tuple[str, ...]
    flash: FlashUse
    ram: RamUse
    limits: Limits
    emit: str
    toolchain: str

    @classmethod
    def from_json(cls, fields: Fields) -> Firmware:
        """Read ``firmware``."""
        with fields:
            return cls(
                flags=fields.items("flags", _MAX_FLAGS, _flag),
                flash=FlashUse.from_json(fields.object("flash")),
                ram=RamUse.from_json(fields.object("ram")),
                limits=Limits.from_json(fields.object("limits")),
                emit=fields.choice("emit", EMIT),
                toolchain=fields.text("toolchain"),
            )


def _flag(value: object, where: str) -> str:
    """A machine option such as ``-mcpu=cortex-m4``; nothing that could name a file or a program."""
    with Fields({"flag": value}, where) as fields:
        return fields.text("flag", r"-m[a-z0-9.+=-]{1,60}", "a machine option such as -mthumb")


def _size(fields: Fields, name: str) -> int:
    return fields.integer(name, 0, _MAX_BYTES)


def _check_total(fields: Fields, total: int) -> None:
    if fields.integer("total") != total:
        fields.fail("total", f"{total}, the sum of the others")
