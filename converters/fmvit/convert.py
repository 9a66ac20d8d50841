"""A model folder of the family → `Model`, always in deployed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.dynamic import Dynamic
from millijoule.converters.fmvit import Hparams, build_module
from millijoule.converters.fmvit.model import LEVELS, FmVit, attention_macs, deploy
from millijoule.converters.frontends.exported import other_sizes, output_types, trace
from millijoule.converters.importer import import_program
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model, Sample
from millijoule.converters.ops import TensorType
from millijoule.converters.samples import random_candidates
from millijoule.converters.source import Folder, read_sample
from millijoule.errors import ModelError, UnsupportedError, UsageError

FAMILY = "fmvit"
INPUT = "x"
CROP = 0.875
_TOLERANCE = 2e-5  # of an output's largest value, or of 1 if that is larger


def convert_folder(
    folder: Folder,
    streaming: bool,
    batch: int,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Model:
    """Build the module, load a checkpoint of either form, export the deployed form.

    ``dynamic``: the number of images may vary, as dimension ``batch`` or by its place.
    """
    if streaming:
        raise UnsupportedError(
            "[streaming] an fmvit model takes whole images, so no step form exists; build it "
            "without --streaming"
        )
    module, ignored = load_folder(folder)
    hp = module.hp
    frontend = frontend_of(folder, hp)
    x = _sample(folder, frontend, (batch, hp.in_channels, hp.image_size, hp.image_size))
    with torch.no_grad():
        values = outputs_of(module, x)
    dynamic = dynamic.placed({"batch": [(INPUT, 0)]})
    if set(dynamic.places) - {(INPUT, 0)}:
        raise UnsupportedError(
            f"[dynamic] the images of an fmvit model have one size; only axis 0 of {INPUT} may vary"
        )
    if dynamic:
        program, symbols = trace(_Flat(module), {INPUT: x}, dynamic, folder.name)
    else:
        program, symbols = torch.export.export(module, (x,)), {}
    relax, layers = import_program(program, symbols)
    outputs = output_types(values, relax)
    return Model(
        name=folder.name,
        family=FAMILY,
        variant=folder.variant,
        hparams=folder.hparams,
        module=relax,
        layers=layers,
        inputs=((INPUT, TensorType(dynamic.shape(INPUT, x.shape), "float32")),),
        outputs=outputs,
        sample_inputs={INPUT: x.numpy()},
        sample_outputs={name: value.numpy() for name, value in values.items()},
        more_samples=tuple(
            Sample(_arrays(other), _arrays(outputs_of(module, other[INPUT])))
            for other in other_sizes({INPUT: x}, dynamic)
        ),
        parameters=sum(p.numel() for p in module.parameters()),
        source=str(folder.config.get("source", "")) or None,
        ignored_keys=ignored,
        labels=folder.config.get("labels"),
        frontend=frontend,
        reference_macs=reference_macs(module, x[:1]),
        tolerance={"default": _TOLERANCE}
        | {name: _TOLERANCE * max(1.0, float(v.abs().max())) for name, v in values.items()},
    )


class _Flat(nn.Module):
    """The model with its input by position and a tuple of outputs, for torch.export."""

    def __init__(self, model: FmVit) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """x [B, C, S, S] → logits, or the levels of the pyramid."""
        return tuple(outputs_of(self.model, *inputs).values())


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in tensors.items()}


def load_folder(folder: Folder) -> tuple[FmVit, list[str]]:
    """The deployed module of a folder, and the keys of its checkpoint that nothing needs.

    Raises ModelError for bad hyper-parameters and missing, misshapen or non-finite tensors.
    """
    module = build_module(folder.variant, folder.hparams).eval()
    weights = find_weights(folder.path)
    tensors = read_checkpoint(weights)
    if is_deployed(tensors):
        module = deploy(module)
    ignored = load_weights(module, tensors, weights.name, frozenset())
    return deploy(module).requires_grad_(False), ignored


def is_deployed(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint has the deployed form: its first convolution has no norm beside it."""
    return "stem.0.weight" in tensors


def outputs_of(module: FmVit, x: Tensor) -> dict[str, Tensor]:
    """Outputs by name: ``logits``, or the levels of the pyramid."""
    y = module(x)
    return {"logits": y} if isinstance(y, Tensor) else dict(zip(LEVELS, y, strict=True))


def reference_macs(module: FmVit, image: Tensor) -> dict[str, int]:
    """Multiply-accumulates of ``image [1, C, S, S]`` by layer, attention's products included."""
    return count_macs(module, lambda: module(image)) | attention_macs(module)


def frontend_of(folder: Folder, hp: Hparams) -> dict[str, Any]:
    """The front end in config.json, else the customary one of ImageNet classifiers.

    That resizes the shorter side to the image's size over 0.875 (`CROP`) and cuts out the centre.
    Raises ModelError for a bad one, or one that gives another size.
    """
    from millijoule.image import image_frontend

    entry = folder.config.get("frontend")
    size = hp.image_size
    if entry is None:
        plain = {} if hp.in_channels == 3 else {"channels": 1, "mean": [0.449], "std": [0.226]}
        entry = {"kind": "image", "height": size, "width": size, "resize": round(size / CROP)}
        entry |= plain
    try:
        chosen = image_frontend(entry)
    except (UsageError, TypeError, ValueError) as error:
        raise ModelError(f"[config.json] frontend: {error}") from error
    if (chosen.channels, chosen.height, chosen.width) != (hp.in_channels, size, size):
        raise ModelError(
            f"[config.json] frontend must give {hp.in_channels} × {size} × {size} values, but "
            f"gives {chosen.channels} × {chosen.height} × {chosen.width}"
        )
    return chosen.to_manifest()


def _sample(folder: Folder, frontend: Mapping[str, Any], shape: tuple[int, ...]) -> Tensor:
    """The image that the config names as its sample, else random values."""
    from millijoule.image import decode, image_frontend

    front = image_frontend(frontend)
    pixels = read_sample(folder, lambda data: front(decode(data)), shape[1:])
    if pixels is None:
        return next(iter(random_candidates(shape)))
    return torch.from_numpy(pixels).expand(shape).contiguous()
