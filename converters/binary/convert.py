"""A model folder of a binary family → `Model`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from millijoule.converters.binary import build_module
from millijoule.converters.binary.attention import BiBertSelfAttention, BiPftSelfAttention
from millijoule.converters.binary.bivit import BiVit, BiVitAttention, BiVitModules
from millijoule.converters.binary.candidates import SEEDS, candidates, limits_of
from millijoule.converters.binary.layers import freeze
from millijoule.converters.binary.names import attention_names, bert_names
from millijoule.converters.binary.samples import ENOUGH, Maps, Margins, Sample, margin, safest
from millijoule.converters.binary.tensors import complete, unpack
from millijoule.converters.binary.text import text_frontend
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.importer import import_program
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.converters.source import Folder
from millijoule.errors import ModelError, UnsupportedError

_SEARCH_MACS = 5e10  # how much to compute, about, in search of a good sample
_FEWEST = 6  # candidates, however large the model


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
    hp = None if isinstance(module, BiVit | BiVitModules) else module.hp
    front, extras = text_frontend(folder, hp) if hp else (None, {})
    first = next(candidates(folder, module, front))
    macs = count_macs(module, lambda: module(**first))
    freeze(module)
    tries = int(min(SEEDS, max(_FEWEST, _SEARCH_MACS // max(sum(macs.values()), 1))))
    sample = _sample(module, islice(candidates(folder, module, front, tries), tries), batch)
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
        reference_macs=macs,
        tolerance={"default": 1e-4},
        aliases=_aliases(module),
        options=_token_options(hp, sample, outputs) if hp else {},
        **extras,
    )


def _token_options(hp: Any, sample: Sample, outputs: Sample) -> dict[str, dict[str, int]]:
    """Ids stay in their tables; mask and types may be left out, and rows be short if masked."""
    defaults = {"attention_mask": 1, "token_type_ids": 0}
    pad = {"pad_axis": 1} if "attention_mask" in sample else {}
    options = {name: {"limit": limits_of(hp)[name], **pad} for name in sample}
    for name in defaults.keys() & sample.keys():
        options[name]["omitted"] = defaults[name]
    return options | {name: dict(pad) for name, y in outputs.items() if y.dim() == 3}


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


def _sample(module: nn.Module, offered: Iterable[Sample], batch: int) -> Sample:
    """The safest candidate, in as many rows as the batch has."""
    sample, _ = safest(offered, lambda c: margin(module, c, _rows_that_count(module, c)))
    return {name: x.repeat(batch, *[1] * (x.dim() - 1)) for name, x in sample.items()}


def _rows_that_count(module: nn.Module, sample: Sample) -> Tensor | None:
    """Tokens that outputs depend on: without padding, unless outputs are per token."""
    if "attention_mask" not in sample or hasattr(module, "cls"):
        return None
    return sample["attention_mask"] > 0


def _reference(module: nn.Module, sample: Sample) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, and attention maps by published name if nothing in them is at risk."""
    with torch.no_grad(), Maps() as maps, Margins() as margins:
        outputs: dict[str, Tensor] = module(**sample)
    for name, y in outputs.items():
        if not bool(y.isfinite().all()):
            raise ModelError(f"[samples] output {name!r} is NaN or infinite; check the weights")
    if margins.smallest < ENOUGH:
        return outputs, {}
    names = _aliases(module)
    paths = _attentions(module)
    return outputs, {names[f"map:{p}"]: a for p, a in zip(paths, maps.seen, strict=True)}
