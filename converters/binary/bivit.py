"""BiViT: the authors' modules on their own, and a whole vision transformer made of them.

The transformer follows the paper's cross-layer scheme: attention fully binary, MLPs with one-bit
weights and real activations; patch embedding, norms and head in full precision. Its keys are those
of DeiT (``blocks.N.attn.qkv.weight`` …) with ``scaling_factor`` beside ``weight`` where learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.binary.hparams import ModulesHparams, VitHparams
from millijoule.converters.binary.layers import INITIALIZER_RANGE, BinaryLinear, gelu_sign
from millijoule.converters.ops import binary_attention
from millijoule.errors import ModelError

VIT_EPS = 1e-6
# BiViT's modules by their name in a checkpoint: class, and its rule or its kind of activations
MODULES = {
    "attn_baseline": ("attention", "bool"),
    "attn_sab": ("attention", "threshold"),
    "mlp_ste": ("mlp", "sign"),
    "mlp_ste_1w32a": ("mlp", "real"),
    "mlp_adap": ("mlp", "sign"),
    "mlp_adap_1w32a": ("mlp", "real"),
}


class BiVitAttention(nn.Module):
    """Binary projections around binary attention. ``learned``: layers that learn their scale."""

    def __init__(
        self, dim: int, heads: int, rule: str, learned: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self.heads, self.rule = heads, rule
        self.qkv = BinaryLinear(dim, 3 * dim, learned="qkv" in learned)
        self.proj = BinaryLinear(dim, dim, learned="proj" in learned)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, dim] → [B, N, dim]."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(binary_attention(q, k, v, rule=self.rule, heads=self.heads)[0])


class BiVitMlp(nn.Module):
    """fc2(GELU(fc1(x))) with one-bit weights."""

    def __init__(
        self, dim: int, hidden: int, activations: str, learned: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self.fc1 = BinaryLinear(dim, hidden, activations=activations, learned="fc1" in learned)
        self.fc2 = BinaryLinear(hidden, dim, activations=activations, learned="fc2" in learned)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, dim] → [B, N, dim]."""
        y = self.fc1(x)
        signs_only = self.fc2.activations == "sign" and not self.training
        return self.fc2(gelu_sign(y) if signs_only else F.gelu(y))


class BiVitModules(nn.Module):
    """Those of `MODULES` that a checkpoint has, side by side on the same input."""

    def __init__(self, hp: ModulesHparams, keys: frozenset[str]) -> None:
        super().__init__()
        self.hp = hp
        present = [name for name in MODULES if any(k.startswith(f"{name}.") for k in keys)]
        if not present:
            raise ModelError(
                f"[config.json] variant 'modules' takes a checkpoint with some of "
                f"{', '.join(MODULES)}, but it has none"
            )
        for name in present:
            parts = {k.split(".")[1] for k in keys if k.startswith(f"{name}.")}
            learned = frozenset(p for p in parts if f"{name}.{p}.scaling_factor" in keys)
            kind, how = MODULES[name]
            self.add_module(
                name,
                BiVitAttention(hp.dim, hp.num_heads, how, learned)
                if kind == "attention"
                else BiVitMlp(hp.dim, hp.mlp_hidden, how, learned),
            )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[B, N, dim] → ``<module>.out`` [B, N, dim] of each."""
        return {f"{name}.out": module(x) for name, module in self.named_children()}


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, hp: VitHparams) -> None:
        super().__init__()
        learned = frozenset(("qkv", "proj", "fc1", "fc2")) if hp.learned_scales else frozenset()
        self.norm1 = nn.LayerNorm(hp.embed_dim, eps=VIT_EPS)
        self.attn = BiVitAttention(hp.embed_dim, hp.num_heads, hp.attention, learned)
        self.norm2 = nn.LayerNorm(hp.embed_dim, eps=VIT_EPS)
        self.mlp = BiVitMlp(hp.embed_dim, int(hp.embed_dim * hp.mlp_ratio), "real", learned)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, dim] → [B, N, dim]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Patches to tokens, a convolution in full precision."""

    def __init__(self, hp: VitHparams) -> None:
        super().__init__()
        size = hp.patch_size
        self.proj = nn.Conv2d(hp.in_chans, hp.embed_dim, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, height, width] → [B, patches, dim]."""
        return self.proj(x).flatten(2).transpose(1, 2)


class BiVit(nn.Module):
    """A binary vision transformer with a class token."""

    def __init__(self, hp: VitHparams) -> None:
        super().__init__()
        self.hp = hp
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hp.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, hp.tokens, hp.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=INITIALIZER_RANGE)
        self.patch_embed = PatchEmbed(hp)
        self.blocks = nn.ModuleList(Block(hp) for _ in range(hp.depth))
        self.norm = nn.LayerNorm(hp.embed_dim, eps=VIT_EPS)
        self.head = nn.Linear(hp.embed_dim, hp.num_classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[B, C, img_size, img_size] → ``logits`` [B, num_classes]."""
        first = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([first, self.patch_embed(x)], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return {"logits": self.head(self.norm(x[:, :1]).squeeze(1))}
