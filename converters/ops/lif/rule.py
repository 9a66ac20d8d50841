"""The discrete choices of a neuron: how it charges, fires and resets."""

from __future__ import annotations

from dataclasses import dataclass

CHARGES = ("blend", "leak")
RESETS = ("zero", "subtract", "settle", "none")
RECORDS = ("before", "after")


@dataclass(frozen=True)
class LifRule:
    """See `millijoule.converters.ops.lif` for the equations. Defaults are LMUFormer's neuron."""

    charge: str = "blend"
    reset: str = "zero"
    delayed: bool = False
    strict: bool = False
    synaptic: bool = False

    def __post_init__(self) -> None:
        if self.charge not in CHARGES:
            raise ValueError(f"charge must be one of {CHARGES}, but is {self.charge!r}")
        if self.reset not in RESETS:
            raise ValueError(f"reset must be one of {RESETS}, but is {self.reset!r}")
        if self.delayed and self.reset == "settle":
            raise ValueError("reset 'settle' is immediate, so delayed must be False")

    @property
    def looks_back(self) -> bool:
        """Whether the charge depends on whether the old potential is beyond the threshold."""
        return self.reset == "settle" or (self.delayed and self.reset != "none")

    @property
    def states(self) -> int:
        """Rows of the state: membrane potential, and synaptic current if there is one."""
        return 2 if self.synaptic else 1
