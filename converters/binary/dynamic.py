"""Which axes of a binary model may vary: its rows, and its tokens where it has no fixed number."""

from __future__ import annotations

from torch import nn

from millijoule.converters.binary.bivit import BiVit, BiVitModules
from millijoule.converters.binary.samples import Sample
from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.exported import within
from millijoule.errors import UnsupportedError, UsageError

BATCH, SEQ = "batch", "seq"


def placed(dynamic: Dynamic, module: nn.Module, sample: Sample, batch: int, name: str) -> Dynamic:
    """``dynamic`` of model ``name`` with ``batch`` along axis 0 and ``seq`` along axis 1.

    All inputs in ``sample`` share them. UnsupportedError for an axis that has one size, or more
    tokens than the model has positions; UsageError for a ``batch`` that both varies and is given.
    """
    if not dynamic:
        return dynamic
    axes = {BATCH: 0} if isinstance(module, BiVit) else {BATCH: 0, SEQ: 1}
    named = {dim: [(x, axis) for x in sample] for dim, axis in axes.items()}
    found = dynamic.placed(named)
    found.check({x: value.shape for x, value in within(sample, found).items()})
    for (x, axis), dim in found.places.items():
        if axis not in axes.values():
            raise UnsupportedError(
                f"[dynamic] {name} takes {x} in one size along axis {axis}; what may vary: "
                f"{' and '.join(f'{known} (axis {a})' for known, a in axes.items())}"
            )
        if any(found.places.get((other, axis)) != dim for other in sample):
            raise UnsupportedError(
                f"[dynamic] axis {axis} is one dimension of all inputs of {name}, but {dim} is not"
                f" given for each of {', '.join(sample)}"
            )
    _check_positions(found, module, next(iter(sample)), name)
    if batch != 1 and (next(iter(sample)), axes[BATCH]) in found.places:
        raise UsageError(f"[dynamic] the batch of {name} varies, so leave out batch={batch}")
    return found


def _check_positions(dynamic: Dynamic, module: nn.Module, first: str, name: str) -> None:
    tokens = dynamic.places.get((first, 1))
    if tokens is None or isinstance(module, BiVit | BiVitModules):
        return
    positions = module.hp.max_position_embeddings
    if tokens.max > positions:
        raise UnsupportedError(
            f"[dynamic] {name} has {positions} positions, but {tokens} may have more tokens"
        )
