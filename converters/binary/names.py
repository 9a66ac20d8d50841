"""Names under which intermediate values can be read: those of the reference outputs.

A kernel's first result is known by its layer's path; the map of an attention by ``map:<path>``.
"""

from __future__ import annotations

_BERT_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.self": "context",
    "attention.output.dense": "attn_dense",
    "attention.output.LayerNorm": "attention_out",
    "intermediate.dense": "ffn_dense1",
    "output.dense": "ffn_dense2",
    "output.LayerNorm": "layer_out",
}
_BERT = {"bert.embeddings.LayerNorm": "embedding_out", "bert.pooler.dense": "pooler_dense"}


def bert_names(layers: int) -> dict[str, str]:
    """Path or tap → published name, for BiBERT and BiPFT with so many layers."""
    names = dict(_BERT)
    for i in range(layers):
        prefix = f"bert.encoder.layer.{i}."
        names |= {prefix + path: f"layer{i}.{short}" for path, short in _BERT_LAYER.items()}
        names[f"map:{prefix}attention.self"] = f"layer{i}.attn_map"
    return names


def attention_names(paths: list[str]) -> dict[str, str]:
    """Path or tap → published name, for BiViT's attention modules at ``paths``."""
    names = {f"map:{path}": f"{path}.attn_map" for path in paths}
    return names | {path: f"{path}.context" for path in paths}
