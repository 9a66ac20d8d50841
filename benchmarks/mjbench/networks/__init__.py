"""Image networks of the benchmarks as plain torch modules with weights made from a seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mjbench.networks.mobileone import mobileone_s0
from mjbench.networks.resnet import resnet50

__all__ = ["NETWORKS", "make_network", "mobileone_s0", "resnet50"]

SEED = 20240207
IMAGE = (3, 224, 224)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "mobileone-s0": mobileone_s0,
}


def make_network(name: str, batch: int = 1) -> tuple[nn.Module, torch.Tensor]:
    """Network ``name`` in eval mode with seeded weights, and an image batch [batch, 3, 224, 224].

    Batch norms take statistics from one pass over noise, so that activations keep unit variance
    however deep the network is.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(SEED)
        network = NETWORKS[name]()
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        network.train()(torch.randn(2, *IMAGE))
        image = torch.randn(batch, *IMAGE)
    return network.eval().requires_grad_(False), image
