"""BiBERT and BiPFT: post-norm BERT with binary linear layers, attention and word embedding.

Module names make the authors' state_dict keys. Full precision stay layer norms, position and type
embeddings, biases, residuals, GELU, tanh and the heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.binary.attention import BiBertSelfAttention, BiPftSelfAttention
from millijoule.converters.binary.hparams import BertHparams
from millijoule.converters.binary.layers import (
    INITIALIZER_RANGE,
    LAYER_NORM_EPS,
    BinaryEmbedding,
    BinaryLinear,
    ShiftedBinaryLinear,
    gelu_sign,
)

MASKED = -10000.0  # added to scores of keys that are padding
Linear = Callable[[int, int], BinaryLinear]
SelfAttention = Callable[[int, int], nn.Module]


def layer_norm(width: int) -> nn.LayerNorm:
    """BERT's layer norm."""
    return nn.LayerNorm(width, eps=LAYER_NORM_EPS)


def _table(rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(rows, width)
    nn.init.normal_(table.weight, 0, INITIALIZER_RANGE)
    return table


class Embeddings(nn.Module):
    """Binary words, full-precision positions and token types, layer norm."""

    def __init__(self, hp: BertHparams, centre: str) -> None:
        super().__init__()
        self.word_embeddings = BinaryEmbedding(hp.vocab_size, hp.hidden_size, centre)
        self.position_embeddings = _table(hp.max_position_embeddings, hp.hidden_size)
        self.token_type_embeddings = _table(hp.type_vocab_size, hp.hidden_size)
        self.LayerNorm = layer_norm(hp.hidden_size)

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        """ids, types [B, N] → [B, N, H]; without types all are 0."""
        positions = self.position_embeddings.weight[: ids.shape[1]]
        table = self.token_type_embeddings.weight
        chosen = table[0]
        # comparisons fuse with what follows, and a wrong type reads nothing outside of the table
        for index in range(1, table.shape[0] if types is not None else 0):
            assert types is not None
            chosen = torch.where((types == index)[..., None], table[index], chosen)
        return self.LayerNorm(self.word_embeddings(ids) + (positions + chosen))


class Output(nn.Module):
    """LN(dense(x) + residual): behind the attention, and behind the intermediate layer."""

    def __init__(self, inputs: int, width: int, linear: Linear) -> None:
        super().__init__()
        self.dense = linear(inputs, width)
        self.LayerNorm = layer_norm(width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[B, N, inputs], [B, N, width] → [B, N, width]."""
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nn.Module):
    """Self-attention and its output layer."""

    def __init__(self, hp: BertHparams, linear: Linear, attention: SelfAttention) -> None:
        super().__init__()
        self.add_module("self", attention(hp.hidden_size, hp.num_attention_heads))
        self.output = Output(hp.hidden_size, hp.hidden_size, linear)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, N, H] → [B, N, H]."""
        return self.output(self.get_submodule("self")(x, mask), x)


class Dense(nn.Module):
    """A layer of its own name, as BERT's modules have it: ``dense``."""

    def __init__(self, inputs: int, outputs: int, linear: Linear) -> None:
        super().__init__()
        self.dense = linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] → [..., outputs]."""
        return self.dense(x)


class Layer(nn.Module):
    """Attention, then two binary layers with a GELU in between."""

    def __init__(self, hp: BertHparams, linear: Linear, attention: SelfAttention) -> None:
        super().__init__()
        self.attention = Attention(hp, linear, attention)
        self.intermediate = Dense(hp.hidden_size, hp.intermediate_size, linear)
        self.output = Output(hp.intermediate_size, hp.hidden_size, linear)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, N, H] → [B, N, H]."""
        x = self.attention(x, mask)
        y = self.intermediate(x)
        # a shifted layer adds to the GELU before it takes the sign
        signs_only = type(self.output.dense) is BinaryLinear and not self.training
        return self.output(gelu_sign(y) if signs_only else F.gelu(y), x)


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, hp: BertHparams, linear: Linear, attention: SelfAttention) -> None:
        super().__init__()
        layers = (Layer(hp, linear, attention) for _ in range(hp.num_hidden_layers))
        self.layer = nn.ModuleList(layers)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, N, H] → [B, N, H]."""
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BiBertPooler(nn.Module):
    """tanh of a binary layer on the first token."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.dense = BinaryLinear(hp.hidden_size, hp.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, H] → [B, H]."""
        return torch.tanh(self.dense(x[:, :1].squeeze(1)))


class BiPftPooler(nn.Module):
    """tanh(LN(dense(h0)) + h0)."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.dense = ShiftedBinaryLinear(hp.hidden_size, hp.hidden_size)
        self.LayerNorm = layer_norm(hp.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, H] → [B, H]."""
        first = x[:, :1].squeeze(1)
        return torch.tanh(self.LayerNorm(self.dense(first)) + first)


class Bert(nn.Module):
    """Embeddings, encoder, pooler."""

    def __init__(self, hp: BertHparams, family: str) -> None:
        super().__init__()
        self.pooler: nn.Module
        if family == "bibert":
            self.embeddings = Embeddings(hp, "row")
            self.encoder = Encoder(hp, BinaryLinear, BiBertSelfAttention)
            self.pooler = BiBertPooler(hp)
        else:
            self.embeddings = Embeddings(hp, "all")
            self.encoder = Encoder(hp, ShiftedBinaryLinear, BiPftSelfAttention)
            self.pooler = BiPftPooler(hp)

    def forward(
        self, ids: Tensor, attention_mask: Tensor | None, types: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """ids [B, N] and, if given, mask and types of the same shape → (sequence, pooled)."""
        mask = None if attention_mask is None else torch.where(attention_mask == 0, MASKED, 0.0)
        sequence = self.encoder(self.embeddings(ids, types), mask)
        return sequence, self.pooler(sequence)


class Classifier(nn.Module):
    """A BERT with a full-precision classifier on the pooled first token."""

    family: str

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.hp = hp
        self.bert = Bert(hp, self.family)
        self.classifier = nn.Linear(hp.hidden_size, hp.num_labels)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """All [B, N] integers → ``logits`` [B, num_labels]."""
        _, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        return {"logits": self.classifier(pooled)}


class BiBert(Classifier):
    """BiBERT for sequence classification."""

    family = "bibert"


class BiPftClassifier(Classifier):
    """BiPFT, fine-tuned."""

    family = "bipft"


class Transform(nn.Module):
    """LN(act(dense(x))) in full precision; act is ``hidden_act``, unlike in the layers."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.act = F.relu if hp.hidden_act == "relu" else F.gelu
        self.dense = nn.Linear(hp.hidden_size, hp.hidden_size)
        self.LayerNorm = layer_norm(hp.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, H] → [B, N, H]."""
        return self.LayerNorm(self.act(self.dense(x)))


class Predictions(nn.Module):
    """Masked-language head; its decoder is tied to the real word embedding in training."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.transform = Transform(hp)
        self.decoder = nn.Linear(hp.hidden_size, hp.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, H] → [B, N, vocab]."""
        return self.decoder(self.transform(x))


class Heads(nn.Module):
    """The two heads of pre-training."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.predictions = Predictions(hp)
        self.seq_relationship = nn.Linear(hp.hidden_size, 2)


class BiPftPretraining(nn.Module):
    """BiPFT with the heads of pre-training: masked words and next sentence."""

    def __init__(self, hp: BertHparams) -> None:
        super().__init__()
        self.hp = hp
        self.bert = Bert(hp, "bipft")
        self.cls = Heads(hp)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """All [B, N] integers → ``logits_mlm`` [B, N, vocab], ``logits_nsp`` [B, 2]."""
        sequence, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        return {
            "logits_mlm": self.cls.predictions(sequence),
            "logits_nsp": self.cls.seq_relationship(pooled),
        }
