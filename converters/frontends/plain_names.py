"""Names of tensors for a bundle, from names that may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Each name with letters, digits, ``_ . -`` only; numbered where two become the same."""
    made: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", name).strip("_.") or "tensor"
        unique, count = plain, 1
        while unique in taken:
            count += 1
            unique = f"{plain}_{count}"
        taken.add(unique)
        made[name] = unique
    return made
