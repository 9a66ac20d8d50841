"""The result of a profile run: plain data, and the files it can become."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from ..files import atomic_write
from .trace import chrome_trace


class Profile:
    """Everything measured, estimated, or unavailable about one program on one machine.

    The data is the JSON document itself: units are in the key names (``median_ms``,
    ``energy_mj``), raw samples are kept at full precision, and every figure has a ``status``.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    @property
    def median_ms(self) -> float:
        """Median latency of one call, in ms; NaN on an emulated device, which has no clock."""
        return float(self._data["latency"].get("median_ms", math.nan))

    @property
    def instructions(self) -> float | None:
        """Retired instructions of one call, mean over the inputs; None but on emulated devices."""
        section = self._data.get("instructions")
        return float(section["per_call"]) if section else None

    @property
    def warnings(self) -> list[str]:
        """What weakens the figures, each with its remedy."""
        return list(self._data["warnings"])

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON values."""
        return self._data

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The profile as JSON text; also written to ``path`` when one is given."""
        text = json.dumps(self._data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            _write(path, text)
        return text

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a self-contained HTML report to ``path``. Needs jinja2 (the ``report`` extra)."""
        from ..report.html import render

        _write(path, render([self._data]))

    def to_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the kernels of one measured run as a Chrome/Perfetto trace to ``path``.

        Raises:
            UsageError: The profile was taken without layers.
        """
        _write(path, json.dumps(chrome_trace(self._data), allow_nan=False))


def _write(path: str | os.PathLike[str], text: str) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())
