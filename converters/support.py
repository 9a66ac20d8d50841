"""The support tables of the front ends, for ``mj targets --ops`` and docs/operators.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millijoule.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """One operator: ``support`` says who converts it ("millijoule" or "tvm") or "refused"."""

    operator: str
    support: str
    note: str = ""


def _torch() -> list[Entry]:
    from millijoule.converters.ops import VOCABULARY
    from millijoule.converters.torch_ops import REFUSED, supported

    own = [Entry(f"mj::{name}", "millijoule", "vocabulary op, kept whole") for name in VOCABULARY]
    return own + _entries(supported(), REFUSED)


def _onnx() -> list[Entry]:
    from millijoule.converters.frontends.onnx.ops import REFUSED, known_ops

    return _entries(known_ops(), REFUSED)


def _tflite() -> list[Entry]:
    from millijoule.converters.frontends.tflite.ops import REFUSED, known_ops

    return _entries(known_ops(), REFUSED)


def _entries(table: dict[str, str], refused: dict[str, str]) -> list[Entry]:
    made = [Entry(name, support) for name, support in table.items()]
    return made + [Entry(name, "refused", reason) for name, reason in sorted(refused.items())]


DOORS: dict[str, Callable[[], list[Entry]]] = {
    "torch": _torch,
    "onnx": _onnx,
    "tflite": _tflite,
}


def door_operators(door: str) -> list[Entry]:
    """The table of a front end; UsageError for one that there is not."""
    if door not in DOORS:
        raise UsageError(f"[ops] must be one of {', '.join(DOORS)}, but is {door!r}")
    return DOORS[door]()
