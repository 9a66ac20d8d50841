"""What a case hands to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mjbench.floors import KernelRow
from mjbench.measure import Ratio, Timing
from mjbench.native import Loops

ShowProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """How much to measure, and where to put files.

    Attributes:
        rounds: interleaved rounds per case.
        threads: numbers of threads for whole sequences.
        work: folder for models, bundles and compiled loops.
        model: folder of a spiking-ms model, or None for random weights.
        plain_model: folder of a plain model, or None for random weights.
        models: names of the whole models to time.
        peers: names of the runtimes to time them with.
        cache: folder for what contenders make of models; it may be kept.
        prepare_only: fill ``cache`` and compare outputs, but time no whole models.
        progress: called with rounds done and rounds in all.
    """

    rounds: int
    threads: tuple[int, ...]
    work: Path
    model: Path | None
    plain_model: Path | None
    models: tuple[str, ...]
    peers: tuple[str, ...]
    cache: Path
    prepare_only: bool
    loops: Loops
    progress: ShowProgress


@dataclass(frozen=True)
class Goal:
    """A claim and whether this run bears it out."""

    text: str
    value: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the value reaches the bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"text": self.text, "value": self.value, "bound": self.bound, "met": self.met}


@dataclass(frozen=True)
class CaseResult:
    """Timings of one case. ``extra`` holds whatever else belongs into the JSON; ``columns`` adds
    columns to the table, by contender; ``kernels`` lists kernels beside their floor, by contender.
    """

    name: str
    title: str
    timings: Mapping[str, Timing]
    ratios: Sequence[Ratio] = ()
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kernels: Mapping[str, Sequence[KernelRow]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "contenders": [t.to_dict() for t in self.timings.values()],
            "ratios": [r.to_dict() for r in self.ratios],
            "goals": [g.to_dict() for g in self.goals],
            "notes": list(self.notes),
            "kernels": {k: [r.to_dict() for r in rows] for k, rows in self.kernels.items()},
            **self.extra,
        }
