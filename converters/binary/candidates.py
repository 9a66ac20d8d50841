"""Candidates for the sample of a bundle: the folder's own, then random ones from fixed seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from millijoule.converters.binary.bivit import BiVit, BiVitModules
from millijoule.converters.binary.samples import Sample
from millijoule.converters.source import Folder
from millijoule.errors import ModelError
from millijoule.npz import read_npz
from millijoule.text import TextFrontend

TOKENS = ("input_ids", "attention_mask", "token_type_ids")
INPUTS = "inputs.npz"
SEEDS = 24
_MAX_INPUT_BYTES = 1 << 28

Arrays = Mapping[str, np.ndarray]


def candidates(
    folder: Folder, module: nn.Module, front: TextFrontend | None, wanted: int = SEEDS
) -> Iterator[Sample]:
    """Samples of one row, all of the shape to build for; about ``wanted`` of them will be tried.

    That shape is ``hparams.seq_len``, or that of ``inputs.npz`` in the folder, or the text front
    end's, or the largest that the model has. ModelError for an ``inputs.npz`` that does not fit.
    """
    given = _given(folder)
    if isinstance(module, BiVit):
        shape = (module.hp.in_chans, module.hp.img_size, module.hp.img_size)
        yield from _real(folder, given, shape)
    elif isinstance(module, BiVitModules):
        steps = module.hp.seq_len or _steps(given, "x")
        if steps is None:
            raise ModelError(
                f"[config.json] hparams.seq_len (tokens) is missing; give it, or put {INPUTS} "
                "beside the config"
            )
        yield from _real(folder, given, (steps, module.hp.dim))
    else:
        yield from _tokens(folder, given, module.hp, front, wanted)


def _given(folder: Folder) -> Arrays:
    """``inputs.npz`` of a model folder: sample inputs, which also fix the size; {} if absent."""
    file = folder.path / INPUTS
    if not file.is_file():
        return {}
    try:
        return read_npz(file, _MAX_INPUT_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f"[{folder.path.name}/{INPUTS}] cannot be read: {error}") from error


def _steps(given: Arrays, name: str) -> int | None:
    return int(given[name].shape[1]) if name in given and given[name].ndim > 1 else None


def _real(folder: Folder, given: Arrays, shape: tuple[int, ...]) -> Iterator[Sample]:
    """Real input ``x [1, *shape]``."""
    if given:
        x = given.get("x")
        if x is None or x.shape[1:] != shape or x.dtype.kind != "f":
            raise ModelError(
                f"[{folder.path.name}/{INPUTS}] must hold x, real, of shape "
                f"[rows, {', '.join(map(str, shape))}]"
            )
        for row in x:
            yield {"x": torch.from_numpy(row[None].astype(np.float32))}
    for seed in range(SEEDS):
        yield {"x": torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))}


def _tokens(
    folder: Folder, given: Arrays, hp: Any, front: TextFrontend | None, wanted: int
) -> Iterator[Sample]:
    """Token ids with mask and types, as many of the three as the folder's own sample has."""
    names = [name for name in TOKENS if not given or name in given]
    _check_tokens(folder, given, hp)
    own = _steps(given, "input_ids") or (front.seq_len if front else None)
    steps = hp.seq_len or own or hp.max_position_embeddings
    text = folder.config.get("sample")
    if front and isinstance(text, str) and front.seq_len == steps:
        arrays = front([text])
        yield {n: torch.from_numpy(arrays[n]) for n in names}
    for row in range(len(given["input_ids"]) if given else 0):
        yield {n: torch.from_numpy(given[n][row : row + 1].astype(np.int64)) for n in names}
    for seed in range(SEEDS):
        # ever shorter: the fewer tokens count, the fewer decisions there are
        real = max(min(steps, 4), steps >> (seed * 6 // wanted))
        yield _random_tokens(seed, steps, real if "attention_mask" in names else steps, names, hp)


def _random_tokens(seed: int, steps: int, real: int, names: list[str], hp: Any) -> Sample:
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, hp.vocab_size, (1, steps), generator=rng)
    mask = (torch.arange(steps)[None] < real).long()
    types = ((torch.arange(steps)[None] >= real // 2) & (mask > 0)).long()
    values = (ids * mask, mask, types.clamp(max=hp.type_vocab_size - 1))
    return {n: v for n, v in zip(TOKENS, values, strict=True) if n in names}


def _check_tokens(folder: Folder, given: Arrays, hp: Any) -> None:
    if not given:
        return
    where = f"[{folder.path.name}/{INPUTS}]"
    if "input_ids" not in given or not set(given) <= set(TOKENS):
        listed = ", ".join(sorted(given))
        optional = " and ".join(TOKENS[1:])
        raise ModelError(f"{where} must hold input_ids, perhaps {optional}, but has {listed}")
    shape = given["input_ids"].shape
    limits = limits_of(hp)
    for name, value in given.items():
        if (
            value.shape != shape
            or value.ndim != 2
            or not value.size
            or value.dtype.kind not in "iu"
        ):
            raise ModelError(f"{where} {name} must be integers of one shape [rows, tokens]")
        if not 0 <= int(value.min()) <= int(value.max()) < limits[name]:
            raise ModelError(f"{where} {name} must be from 0 to {limits[name] - 1}")
    if shape[1] > hp.max_position_embeddings or hp.seq_len not in (None, shape[1]):
        raise ModelError(
            f"{where} has {shape[1]} tokens, but hparams allow {hp.max_position_embeddings} and "
            f"seq_len is {hp.seq_len}"
        )


def limits_of(hp: Any) -> dict[str, int]:
    """By input, the number of values that there are."""
    return dict(zip(TOKENS, (hp.vocab_size, 2, hp.type_vocab_size), strict=True))
