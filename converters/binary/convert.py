"""A model folder of a binary family → `Model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
import tvm
from torch import Tensor, nn

from millijoule.converters.binary import build_module
from millijoule.converters.binary.attention import BiBertSelfAttention, BiPftSelfAttention
from millijoule.converters.binary.bivit import BiVit, BiVitAttention, BiVitModules
from millijoule.converters.binary.candidates import SEEDS, candidates, limits_of
from millijoule.converters.binary.dynamic import placed
from millijoule.converters.binary.layers import freeze
from millijoule.converters.binary.names import attention_names, bert_names
from millijoule.converters.binary.samples import ENOUGH, Maps, Margins, Sample, margin, safest
from millijoule.converters.binary.tensors import complete, unpack
from millijoule.converters.binary.text import text_frontend
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.exported import other_sizes, output_types, trace, within
from millijoule.converters.importer import import_program
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.converters.model import Sample as Samples
from millijoule.converters.ops import TensorType
from millijoule.converters.source import Folder
from millijoule.errors import ModelError, UnsupportedError
from millijoule.text import MIN_TOKENS

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


def convert_folder(
    folder: Folder,
    streaming: bool,
    batch: int,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Model:
    """Build the torch module, load the checkpoint, make a sample, export the frozen program.

    ``dynamic``: rows and tokens may vary, as `binary.dynamic.placed` has it.
    """
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
    dynamic = placed(dynamic, module, first, batch, folder.name)
    tokens = dynamic.places.get((next(iter(first)), 1))
    if tokens is not None and front:  # texts may be as long as the program takes
        extras["frontend"]["seq_len"] = max(tokens.max, MIN_TOKENS)
    first = within(first, dynamic)
    macs = count_macs(module, lambda: module(**first))
    freeze(module)
    tries = int(min(SEEDS, max(_FEWEST, _SEARCH_MACS // max(sum(macs.values()), 1))))
    offered = [within(c, dynamic) for c in islice(candidates(folder, module, front, tries), tries)]
    sample = _sample(module, offered, batch)
    outputs, maps = _reference(module, sample)
    program, layers = _import(Positional(module, list(sample)), sample, dynamic, folder.name)
    return Model(
        name=folder.name,
        module=program,
        layers=layers,
        inputs=tuple(
            (name, TensorType(dynamic.shape(name, x.shape), _type(x).dtype))
            for name, x in sample.items()
        ),
        outputs=output_types(outputs, program),
        more_samples=tuple(_other_samples(module, offered, dynamic, batch)),
        sample_inputs=_arrays(sample),
        sample_outputs=_arrays(outputs | maps),
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
        options=_token_options(hp, sample, outputs, fill=tokens is None) if hp else {},
        **extras,
    )


def _import(
    module: Positional, sample: Sample, dynamic: Dynamic, name: str
) -> tuple[tvm.IRModule, dict[str, str]]:
    if not dynamic:
        return import_program(torch.export.export(module, tuple(sample.values())))
    return import_program(*trace(module, sample, dynamic, name))


def _other_samples(
    module: nn.Module, offered: Sequence[Sample], dynamic: Dynamic, batch: int
) -> Iterator[Samples]:
    """Samples of the smallest and the largest sizes, each the safest of the candidates."""
    sizes = zip(*(other_sizes(candidate, dynamic) for candidate in offered), strict=True)
    for candidates_of_a_size in sizes:
        sample = _sample(module, candidates_of_a_size, batch)
        outputs, maps = _reference(module, sample)
        yield Samples(_arrays(sample), _arrays(outputs | maps))


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in tensors.items()}


def _token_options(
    hp: Any, sample: Sample, outputs: Sample, fill: bool
) -> dict[str, dict[str, int]]:
    """Ids stay in their tables; mask and types may be left out, and rows be short if masked.

    ``fill``: short rows are filled up to the one length of the program.
    """
    defaults = {"attention_mask": 1, "token_type_ids": 0}
    pad = {"pad_axis": 1} if "attention_mask" in sample and fill else {}
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
