"""A spiking classifier in snnTorch, as one would write it, on its way to a device.

    mj build examples/snntorch_leaky.py:make                 # whole sequences: x [1, 100, 40]
    mj build examples/snntorch_leaky.py:make --streaming     # one frame per call

Replace ``make`` by a function that loads your own weights.
"""

import snntorch as snn
import torch
from torch import nn

FEATURES, HIDDEN, CLASSES, STEPS = 40, 128, 10, 100


def make() -> tuple[nn.Module, tuple[torch.Tensor]]:
    """The network, which computes one step, and an example input [batch, steps, features]."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN),
        snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(HIDDEN, HIDDEN),
        snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True),
        nn.Linear(HIDDEN, CLASSES),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )
    return network, (torch.rand(1, STEPS, FEATURES) * 2,)
