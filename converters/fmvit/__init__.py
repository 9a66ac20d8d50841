"""FMViT (arXiv 2311.05707): a documented **reconstruction**, because its authors published no code.

What is public: the paper's account of its parts (convolutional multi-group reparameterization, a
lightweight multi-head self-attention, a convolutional fusion block, blocks that mix high and low
frequencies) and a record of five sizes. The skeleton here is Next-ViT's (arXiv 2207.05501), whose
blocks play those parts, with widths and depths chosen to meet the record:

=== ========== ============= ========== =============
size  parameters                GMAC
--- ------------------------ ------------------------
  .   record     this one      record     this one
=== ========== ============= ========== =============
t   2.0 M      2.01 M        0.3        0.301
s   6.4 M      6.39 M        0.8        0.785
m   12.8 M     12.77 M       2.0        2.005
b   24.3 M     24.35 M       4.2        4.204
l   35.3 M     35.13 M       7.1        7.114
=== ========== ============= ========== =============

(deployed form, 224 pixels, 1000 classes). Accuracies of the paper are *not* claimed: there are no
weights of theirs, and these may not be their layers.

A checkpoint has either form. Keys of the training form, for block J of stage I:

- ``stem.0`` … ``stem.3``, ``stages.I.J.embed.proj`` and, in mixing blocks, ``stages.I.J.high``:
  ``.conv.weight`` and ``.norm.*`` each;
- ``stages.I.J.local.mix``: ``.branches.K.{conv,norm}``, ``.point.{conv,norm}`` and ``.identity``,
  which is a norm;
- ``stages.I.J.local.proj``, ``stages.I.J.mlp.{norm,fc1,fc2}``, ``head.{norm,fc}`` and, in mixing
  blocks, ``stages.I.J.attention.{norm,q,k,v,proj}``.

In the deployed form the entries of the first two lines are convolutions with ``weight`` and
``bias`` themselves (``stem.0.weight``, ``stages.I.J.local.mix.bias``), and no ``norm`` is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millijoule.converters.fmvit.hparams import VARIANTS, Hparams, read_hparams
from millijoule.converters.fmvit.model import FmVit, deploy

__all__ = ["VARIANTS", "FmVit", "Hparams", "build_module", "deploy", "read_hparams"]


def build_module(variant: str, hparams: Mapping[str, Any]) -> FmVit:
    """A freshly initialised module in training form.

    ``forward(image [B, 3, S, S]) -> logits [B, classes]``, or the features c2 … c5 of the pyramid.
    Raises ModelError for an unknown variant or bad hyper-parameters.
    """
    return FmVit(read_hparams(variant, hparams))
