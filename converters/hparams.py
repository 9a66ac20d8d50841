"""Reading hyper-parameters of any family from a config: a dataclass says which there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from millijoule.errors import ModelError

H = TypeVar("H")
_LIMIT = 1_000_000


def read_fields(kind: type[H], values: Mapping[str, Any]) -> H:
    """An instance of the dataclass ``kind`` from positive numbers, truth values and texts by name.

    Unknown names are ignored; absent and null ones take their default. ModelError names a field
    that is missing or of the wrong kind.
    """
    chosen: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = values.get(field.name)
        if value is None:
            if field.default is MISSING:
                raise ModelError(f"[config.json] hparams.{field.name} is missing")
            continue
        rule = _RULES[str(field.type).partition(" |")[0]]
        if not rule[1](value):
            raise ModelError(
                f"[config.json] hparams.{field.name} must be {rule[0]}, but is {value!r}"
            )
        chosen[field.name] = value
    return kind(**chosen)


def _positive(kinds: Any) -> Any:
    return lambda v: isinstance(v, kinds) and not isinstance(v, bool) and 0 < v <= _LIMIT


_RULES: dict[str, tuple[str, Any]] = {
    "int": (f"a positive integer up to {_LIMIT}", _positive(int)),
    "float": (f"a positive number up to {_LIMIT}", _positive(int | float)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "str": ("a text", lambda v: isinstance(v, str)),
}


def check_variant(variant: str, variants: tuple[str, ...]) -> None:
    """ModelError unless ``variant`` is one of ``variants``."""
    if variant not in variants:
        raise ModelError(
            f"[config.json] variant must be one of {', '.join(variants)}, but is {variant!r}"
        )
