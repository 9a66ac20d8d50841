"""A model folder of a binary family → `Model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from millijoule.converters.binary import build_module
from millijoule.converters.binary.attention import BiBertSelfAttention, BiPftSelfAttention
from millijoule.converters.binary.bivit import BiVit, BiVitAttention, BiVitModules
from millijoule.converters.binary.layers import freeze
from millijoule.converters.binary.names import attention_names, bert_names
from millijoule.converters.binary.samples import ENOUGH, Maps, Sample, margin, safest
from millijoule.converters.binary.tensors import complete, unpack
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.importer import import_program
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.converters.source import Folder
from millijoule.errors import ModelError, UnsupportedError
from millijoule.npz import read_npz

TOKENS = ("input_ids", "attention_mask", "token_type_ids")
INPUTS = "inputs.npz"
_MAX_INPUT_BYTES = 1 << 28
_SEEDS = 24
_SEARCH_MACS = 2e11  # how much to compute, at most, in search of a good sample


class Positional(nn.Module):
    """``model`` with its inputs by position and its outputs as a tuple, for torch.export."""

    def __init__(self, model: nn.Module, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, tuple(inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of the model's dict."""
        return tuple(self.model(**dict(zip(self.inputs, tensors, strict=True))).values())


def convert_folder(folder: Folder, streaming: bool, batch: int) -> Model:
    """Build the torch module, load the checkpoint, make a sample, export the frozen program."""
    if streaming:
        raise UnsupportedError(
            f"[streaming] {folder.family} attends over the whole sequence, so no step form exists; "
            "build it without --streaming"
        )
    weights = find_weights(folder.path)
    tensors = complete(unpack(read_checkpoint(weights), weights.name))
    module = build_module(folder.family, folder.variant, folder.hparams, frozenset(tensors)).eval()
    ignored = load_weights(module, tensors, weights.name, frozenset())
    parameters = sum(p.numel() for p in module.parameters())
    del tensors
    first = next(_candidates(folder, module))
    macs = count_macs(module, lambda: module(**first))
    freeze(module)
    sample = _sample(folder, module, batch, sum(macs.values()))
    outputs, maps = _reference(module, sample)
    example = tuple(sample.values())
    program, layers = import_program(torch.export.export(Positional(module, list(sample)), example))
    return Model(
        name=folder.name,
        module=program,
        layers=layers,
        inputs=tuple((name, _type(x)) for name, x in sample.items()),
        outputs=tuple((name, _type(y)) for name, y in outputs.items()),
        sample_inputs={name: x.numpy() for name, x in sample.items()},
        sample_outputs={name: y.numpy() for name, y in (outputs | maps).items()},
        family=folder.family,
        variant=folder.variant,
        hparams=folder.hparams,
        parameters=parameters,
        source=str(folder.config.get("source", "")) or None,
        ignored_keys=ignored,
        labels=folder.config.get("labels"),
        frontend=folder.config.get("frontend"),
        reference_macs=macs,
        tolerance={"default": 1e-4},
        aliases=_aliases(module),
    )


def _type(x: Tensor) -> TensorType:
    return TensorType(tuple(x.shape), str(x.dtype).removeprefix("torch."))


def _attentions(module: nn.Module) -> list[str]:
    """Paths of attention modules, in the order in which they run."""
    kinds = BiVitAttention | BiBertSelfAttention | BiPftSelfAttention
    return [path for path, part in module.named_modules() if isinstance(part, kinds)]


def _aliases(module: nn.Module) -> dict[str, str]:
    if isinstance(module, BiVit | BiVitModules):
        return attention_names(_attentions(module))
    return bert_names(module.hp.num_hidden_layers)


def _given(folder: Folder) -> dict[str, np.ndarray]:
    """``inputs.npz`` of a model folder: sample inputs, which also fix the size; {} if absent."""
    file = folder.path / INPUTS
    if not file.is_file():
        return {}
    try:
        return read_npz(file, _MAX_INPUT_BYTES)
    except (OSError, ValueError) as error:
        raise ModelError(f"[{folder.path.name}/{INPUTS}] cannot be read: {error}") from error


def _candidates(folder: Folder, module: nn.Module) -> Iterator[Sample]:
    """Samples of one row: those of the folder, then random ones from fixed seeds."""
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
        yield from _token_samples(folder, given, module.hp)


def _steps(given: Mapping[str, np.ndarray], name: str) -> int | None:
    return int(given[name].shape[1]) if name in given and given[name].ndim > 1 else None


def _real(
    folder: Folder, given: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> Iterator[Sample]:
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
    for seed in range(_SEEDS):
        yield {"x": torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))}


def _token_samples(folder: Folder, given: Mapping[str, np.ndarray], hp: Any) -> Iterator[Sample]:
    """Token ids with mask and types, as many of the three as the folder's own sample has."""
    names = [name for name in TOKENS if not given or name in given]
    _check_tokens(folder, given, hp)
    for row in range(len(given["input_ids"]) if given else 0):
        yield {n: torch.from_numpy(given[n][row : row + 1].astype(np.int64)) for n in names}
    steps = hp.seq_len or _steps(given, "input_ids") or hp.max_position_embeddings
    for seed in range(_SEEDS):
        rng = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, hp.vocab_size, (1, steps), generator=rng)
        # ever shorter: the fewer tokens count, the fewer decisions there are
        real = max(min(steps, 4), steps >> (seed // 6)) if "attention_mask" in names else steps
        mask = (torch.arange(steps)[None] < real).long()
        types = ((torch.arange(steps)[None] >= real // 2) & (mask > 0)).long()
        values = (ids * mask, mask, types.clamp(max=hp.type_vocab_size - 1))
        yield {n: v for n, v in zip(TOKENS, values, strict=True) if n in names}


def _check_tokens(folder: Folder, given: Mapping[str, np.ndarray], hp: Any) -> None:
    if not given:
        return
    where = f"[{folder.path.name}/{INPUTS}]"
    unknown = sorted(set(given) - set(TOKENS))
    if "input_ids" not in given or unknown:
        listed = ", ".join(sorted(given))
        raise ModelError(f"{where} must hold input_ids and perhaps {TOKENS[1:]}, but has {listed}")
    shape = given["input_ids"].shape
    limits = {"input_ids": hp.vocab_size, "token_type_ids": hp.type_vocab_size}
    for name, value in given.items():
        if value.shape != shape or value.ndim != 2 or value.dtype.kind not in "iub":
            raise ModelError(f"{where} {name} must be integers of one shape [rows, tokens]")
        if value.size and not 0 <= int(value.min()) <= int(value.max()) < limits.get(name, 2):
            raise ModelError(f"{where} {name} must be in 0…{limits.get(name, 2) - 1}")
    if not 0 < shape[1] <= hp.max_position_embeddings or hp.seq_len not in (None, shape[1]):
        raise ModelError(
            f"{where} has {shape[1]} tokens, but hparams allow {hp.max_position_embeddings} and "
            f"seq_len is {hp.seq_len}"
        )


def _sample(folder: Folder, module: nn.Module, batch: int, macs: int) -> Sample:
    """The safest candidate, in as many rows as the batch has."""
    tries = int(min(_SEEDS, max(4, _SEARCH_MACS // max(macs, 1))))
    candidates = (c for c, _ in zip(_candidates(folder, module), range(tries), strict=False))
    sample, _ = safest(candidates, lambda c: margin(module, c, _rows_that_count(module, c)))
    return {name: x.repeat(batch, *[1] * (x.dim() - 1)) for name, x in sample.items()}


def _rows_that_count(module: nn.Module, sample: Sample) -> Tensor | None:
    """Tokens that outputs depend on: without padding, unless outputs are per token."""
    if "attention_mask" not in sample or hasattr(module, "cls"):
        return None
    return sample["attention_mask"] > 0


def _reference(module: nn.Module, sample: Sample) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, and attention maps by published name if nothing in them is at risk."""
    with torch.no_grad(), Maps() as maps:
        outputs: dict[str, Tensor] = module(**sample)
    for name, y in outputs.items():
        if not bool(y.isfinite().all()):
            raise ModelError(f"[samples] output {name!r} is NaN or infinite; check the weights")
    if margin(module, sample) < ENOUGH:
        return outputs, {}
    names = _aliases(module)
    paths = _attentions(module)
    return outputs, {names[f"map:{p}"]: a for p, a in zip(paths, maps.seen, strict=True)}
