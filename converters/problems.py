"""What a front end cannot import: each node with its place, and one error for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millijoule.errors import UnsupportedError


@dataclass(frozen=True)
class Problem:
    """A node without conversion: its operator, where it stands in the model, and why ("" if new).

    ``where`` is a file and line of the user's code, an ONNX node's name, or the place of an
    operator in a TensorFlow Lite file.
    """

    operator: str
    where: str
    reason: str = ""


class OperatorsUnsupportedError(UnsupportedError):
    """An UnsupportedError that knows every node it is about."""

    def __init__(self, door: str, problems: Sequence[Problem], remedy: str) -> None:
        first = problems[0]
        others = sorted({p.operator for p in problems[1:]} - {first.operator})
        more = f"; so are {', '.join(others)}" if others else ""
        reason = f": {first.reason}" if first.reason else ""
        super().__init__(
            f"[{door}] operator {first.operator} is not supported ({first.where}){reason}{more}; "
            f"{remedy}"
        )
        self.problems = tuple(problems)
