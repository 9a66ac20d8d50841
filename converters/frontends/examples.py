"""Example inputs of a torch module: which arguments they are, and which of them are constants."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from millijoule.converters.frontends.results import named_outputs, repeat_rows
from millijoule.errors import ModelError, UnsupportedError

DTYPES = (torch.float32, torch.int32, torch.int64, torch.uint8, torch.int8)
_CONSTANT = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Examples:
    """Tensors by name in the order of the program's inputs, and how ``forward`` takes them.

    ``positional``: how many of them are positional arguments; the others go by keyword.
    ``constants``: keyword arguments that are no tensors and stay what they are.
    """

    tensors: dict[str, Tensor]
    positional: int
    constants: dict[str, Any]

    @property
    def shapes(self) -> list[list[int]]:
        """Shapes, for messages."""
        return [list(x.shape) for x in self.tensors.values()]

    def rows(self, batch: int) -> Examples:
        """The same with ``batch`` rows, going round; 1 keeps those that there are."""
        if batch == 1:
            return self
        return self.of({n: repeat_rows(x, batch, 0) for n, x in self.tensors.items()})

    def of(self, tensors: dict[str, Tensor]) -> Examples:
        """The same with other values or sizes."""
        return Examples(tensors, self.positional, self.constants)

    def call(self, module: Any, tensors: Sequence[Tensor]) -> Any:
        """``module`` on ``tensors``, given as the examples are."""
        names = list(self.tensors)[self.positional :]
        keywords = dict(zip(names, tensors[self.positional :], strict=True))
        return module(*tensors[: self.positional], **keywords, **self.constants)


class Flat(nn.Module):
    """A module with tensors in, by position, and a tuple of tensors out (see `named_outputs`).

    torch.export then needs to know nothing of dicts, dataclasses, options and Nones. Paths of
    layers begin with ``model.``, which `importer.layer_of` takes off.
    """

    def __init__(self, model: nn.Module, examples: Examples) -> None:
        super().__init__()
        self.model = model
        self._examples = examples

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The wrapped module's outputs, flat."""
        return tuple(named_outputs(self._examples.call(self.model, inputs)).values())


def read_examples(module: nn.Module, example_inputs: Any) -> Examples:
    """Check and name the example inputs of ``module``.

    ``example_inputs``: a tensor, a sequence in the order of ``forward`` (whose last item may be a
    mapping of keyword arguments), or a mapping. ModelError or UnsupportedError for what cannot be
    an input.
    """
    if example_inputs is None:
        raise ModelError("[module] needs example_inputs=(tensor, …) of the shapes to build for")
    args, keywords = _split(example_inputs)
    names = _names(module, len(args))
    tensors = {n: _tensor(i, x) for i, (n, x) in enumerate(zip(names, args, strict=False))}
    if len(tensors) < len(args):
        raise ModelError(
            f"[module] forward takes {len(names)} positional arguments, "
            f"but there are {len(args)} example inputs"
        )
    constants = {k: v for k, v in keywords.items() if isinstance(v, _CONSTANT)}
    for key, value in keywords.items():
        if key in tensors:
            raise ModelError(f"[module] example input {key!r} is given twice")
        if key not in constants:
            tensors[key] = _tensor(key, value)
    if not tensors:
        raise ModelError("[module] needs at least one example input")
    return Examples(tensors, len(args), constants)


def _split(example_inputs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments."""
    if isinstance(example_inputs, Mapping):
        return [], {str(k): v for k, v in example_inputs.items()}
    if isinstance(example_inputs, Tensor) or not isinstance(example_inputs, Sequence):
        return [example_inputs], {}
    if isinstance(example_inputs, str):
        return [example_inputs], {}
    args = list(example_inputs)
    if args and isinstance(args[-1], Mapping):
        return args[:-1], {str(k): v for k, v in args[-1].items()}
    return args, {}


def _tensor(name: int | str, value: Any) -> Tensor:
    """``value`` as a tensor that can be an input of a program."""
    where = f"[module] example input {name if isinstance(name, int) else repr(name)}"
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{where} must be a tensor, but is {type(value).__name__}") from error
    if tensor.dtype is torch.float64:
        tensor = tensor.float()
    if tensor.dtype not in DTYPES:
        raise UnsupportedError(
            f"{where} must be one of {', '.join(map(str, DTYPES))}, but is {tensor.dtype}"
        )
    if tensor.dim() == 0 or tensor.numel() == 0:
        raise ModelError(
            f"{where} needs a batch axis and elements, but has shape {list(tensor.shape)}"
        )
    return tensor


def _names(module: nn.Module, count: int) -> list[str]:
    """Names of the first arguments of forward; those of ``*args`` are numbered."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    names: list[str] = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}{i}" for i in range(count - len(names))]
        elif p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD:
            names.append(p.name)
    return [re.sub(r"\W", "_", n) for n in names[:count]]
