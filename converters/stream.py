"""Streaming: one module definition serves both the whole sequence and the single step.

A temporal module takes an optional `Stream`. Without one it computes a whole sequence from a fresh
state. With one it computes a single step: it reads its old state from the stream by name and writes
the new one. `StreamStep` wraps a model so that the states are ordinary inputs and outputs.

A convolution of width 3 centred on a step must wait for the step after it, so each one delays the
stream by a step. `Stream.valid` says whether the step that the current layer works on is a real
one: not while the delay line fills at the start, and not the zeros fed to each convolution at the
end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

VALID_LINE = "valid_line"


@dataclass(frozen=True)
class StateSpec:
    """One state: its name, shape (batch first where it has one) and dtype. Initial value: zeros."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Stream:
    """The states of one step. With ``values=None`` it records which states the model asks for."""

    def __init__(self, valid: Tensor, values: dict[str, Tensor] | None, delay: int) -> None:
        self._values = values
        self._depth = 0
        self.written: dict[str, Tensor] = {}
        # one state per flag: the line moves by handing tensors on, no step computes anything for it
        names = [f"{VALID_LINE}.{place}" for place in range(delay)]
        self._line = [valid, *(self.read(name, (1,), torch.int32) for name in names)]
        for name, flag in zip(names, self._line, strict=False):
            self.write(name, flag)

    @property
    def valid(self) -> Tensor:
        """int32 [1]: 1 if the current layer works on a real step of the sequence."""
        return self._line[self._depth]

    @property
    def depth(self) -> int:
        """Delay in steps at the current layer."""
        return self._depth

    def later(self) -> None:
        """The layers from here on work one step further behind the input."""
        self._depth += 1

    def read(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Old value of a state; zeros at the start of a stream."""
        if self._values is None:
            return torch.zeros(tuple(shape), dtype=dtype)
        return self._values[name]

    def write(self, name: str, value: Tensor) -> None:
        """New value of a state."""
        self.written[name] = value

    def delayed(self, name: str, x: Tensor) -> Tensor:
        """``x [B, 1, C]`` as it was one step ago."""
        old = self.read(name, x.shape, x.dtype)
        self.write(name, x)
        return old

    def window(self, name: str, x: Tensor, length: int) -> Tensor:
        """The last ``length`` values of ``x [B, 1, C]``, oldest first: [B, length, C].

        The state is the window itself, so that shifting writes it once and layers read it in place.
        """
        batch, _, channels = x.shape
        past = self.read(name, (batch, length, channels), x.dtype)
        window = torch.cat([past[:, 1:], x], dim=1)
        self.write(name, window)
        return window


class Temporal(nn.Module):
    """A module with state: ``path`` is its name in the model, set by `name_states`."""

    path: str = ""


def name_states(model: nn.Module) -> None:
    """Give every temporal module its path, so that states have stable, readable names."""
    for path, module in model.named_modules():
        if isinstance(module, Temporal):
            module.path = path


class StreamStep(nn.Module):
    """``(x [B, F…], valid [1], *states) -> (*outputs, *states')`` of a model with `step`.

    ``model.step(x [B, 1, F…], stream)`` returns one output or a tuple of them.
    """

    def __init__(
        self, model: nn.Module, delay: int, batch: int, features: int | Sequence[int]
    ) -> None:
        super().__init__()
        self.model, self.delay = model, delay
        recorder = Stream(torch.ones(1, dtype=torch.int32), None, delay)
        with torch.no_grad():
            shape = (features,) if isinstance(features, int) else tuple(features)
            model.step(torch.zeros(batch, 1, *shape), recorder)
        if recorder.depth != delay:
            raise ValueError(f"the model delays by {recorder.depth} steps, but declares {delay}")
        self.states = tuple(
            StateSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for name, value in recorder.written.items()
        )

    def initial_states(self) -> tuple[Tensor, ...]:
        """Zeros of every state, in order."""
        return tuple(torch.zeros(s.shape, dtype=getattr(torch, s.dtype)) for s in self.states)

    def forward(self, x: Tensor, valid: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One step; see the class docstring."""
        values = {spec.name: value for spec, value in zip(self.states, states, strict=True)}
        stream = Stream(valid, values, self.delay)
        outputs = self.model.step(x.unsqueeze(1), stream)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return (*outputs, *(stream.written[spec.name] for spec in self.states))
