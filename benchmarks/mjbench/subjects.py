"""The models that contenders compute: published architectures, weights made from a seed."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SEED = 20240207
IMAGE = (1, 3, 224, 224)
TOKENS = (1, 128)


@dataclass(frozen=True)
class Subject:
    """A model to time.

    Attributes:
        name: as in ``--models``.
        make: the torch module, in whatever state; `build` seeds and prepares it.
        kind: "image" ([1, 3, 224, 224] float32) or "tokens" ([1, 128] int64).
        source: where the architecture comes from.
        transformer: kind of transformer, for tools that want to be told; "" for none.
    """

    name: str
    make: Callable[[], nn.Module]
    source: str
    kind: str = "image"
    transformer: str = ""

    def build(self) -> tuple[nn.Module, Tensor]:
        """The module in evaluation mode with seeded weights, and its input, the same every time."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(SEED)
            module = self.make()
            if self.kind == "tokens":
                return module.eval().requires_grad_(False), torch.randint(1000, 20000, TOKENS)
            _calibrate(module)
            return module.eval().requires_grad_(False), torch.randn(IMAGE)


def _calibrate(module: nn.Module) -> None:
    """Batch norms take statistics from noise, so that activations keep their size at any depth."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        module.train()(torch.randn(4, *IMAGE[1:]))


def _timm(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from mjbench import torchvision_standin

        torchvision_standin.install()
        import timm

        return timm.create_model(name, pretrained=False)

    return make


def _fmvit(variant: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        """Deployed form, for every contender: fusing branches is not what is compared."""
        from millijoule.converters.fmvit import build_module, deploy

        module = build_module(variant, {})
        _calibrate(module)
        return deploy(module)

    return make


class _LastHidden(nn.Module):
    """BERT-base with its own configuration, [1, 128] token ids → [1, 128, 768]."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(attn_implementation="sdpa")
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden states of the last layer; every token attends to all."""
        mask = torch.ones_like(ids)
        result: Any = self.bert(input_ids=ids, attention_mask=mask, return_dict=False)
        return result[0]


def _shared(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from mjbench.networks import NETWORKS

        return NETWORKS[name]()

    return make


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("vit-tiny", _timm("vit_tiny_patch16_224"), "timm", transformer="vit"),
        Subject("deit-small", _timm("deit_small_patch16_224"), "timm", transformer="vit"),
        Subject("fmvit-s", _fmvit("s"), "converters/fmvit, deployed form"),
        Subject("fmvit-m", _fmvit("m"), "converters/fmvit, deployed form"),
        Subject("pvtv2-b0", _timm("pvt_v2_b0"), "timm"),
        Subject("resnet-50", _shared("resnet50"), "mjbench.networks"),
        Subject("mobileone-s0", _shared("mobileone-s0"), "mjbench.networks, deployed form"),
        Subject("bert-base", _LastHidden, "transformers, 128 tokens", "tokens", "bert"),
    )
}


def fingerprint(*packages: str, files: Sequence[Path] = ()) -> str:
    """Changes with the definitions of subjects, ``files`` and the versions of ``packages``."""
    import millijoule.converters.fmvit as fmvit

    digest = hashlib.sha256()
    here = Path(__file__)
    own = [here, *here.parent.glob("networks/*.py"), *Path(fmvit.__file__).parent.glob("*.py")]
    for path in [*sorted(own), *files]:
        digest.update(path.read_bytes())
    for package in ("torch", "timm", "transformers", *packages):
        digest.update(f"{package} {_version(package)}\n".encode())
    return digest.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
