"""Models of Hugging Face transformers with random weights, at full size or shrunken for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

TOKENS, SMALL_TOKENS = 128, 16

# Names of the configuration's width, depth and so on differ; these are what "small" sets.
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SMALL_TEXT = {**_SMALL, "intermediate_size": 128, "vocab_size": 200}


def _ids(vocabulary: int, small: bool) -> dict[str, Tensor]:
    """Token ids ``[1, N]`` with a mask whose last quarter is padding."""
    count = SMALL_TOKENS if small else TOKENS
    ids = torch.randint(0, vocabulary, (1, count), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, count, dtype=torch.int64)
    mask[:, count - count // 4 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _image(side: int) -> dict[str, Tensor]:
    """One image ``[1, 3, side, side]``."""
    generator = torch.Generator().manual_seed(0)
    return {"pixel_values": torch.randn(1, 3, side, side, generator=generator)}


def _text(model: str, config: str, small: dict[str, Any], **full: Any) -> Callable[[bool], Any]:
    """A model that reads token ids; caches are off."""

    def make(shrink: bool) -> tuple[nn.Module, dict[str, Tensor]]:
        import transformers

        settings = {**full, **(small if shrink else {})}
        made = getattr(transformers, config)(**settings)
        if hasattr(made, "use_cache"):
            made.use_cache = False
        return getattr(transformers, model)(made).eval(), _ids(made.vocab_size, shrink)

    return make


def _vision(
    model: str, config: str, small: dict[str, Any], side: int, small_side: int, **full: Any
) -> Callable[[bool], Any]:
    """A model that reads ``pixel_values``."""

    def make(shrink: bool) -> tuple[nn.Module, dict[str, Tensor]]:
        import transformers

        made = getattr(transformers, config)(**{**full, **(small if shrink else {})})
        return (
            getattr(transformers, model)(made).eval(),
            _image(small_side if shrink else side),
        )

    return make


def _whisper(shrink: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    frames = 100 if shrink else 3000
    config = WhisperConfig(
        d_model=64 if shrink else 384,
        encoder_layers=2 if shrink else 4,
        encoder_attention_heads=2 if shrink else 6,
        encoder_ffn_dim=128 if shrink else 1536,
        max_source_positions=frames // 2,
    )
    features = torch.randn(1, config.num_mel_bins, frames)
    return WhisperEncoder(config).eval(), {"input_features": features}


def _wav2vec2(shrink: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    small = {**_SMALL, "intermediate_size": 128, "conv_dim": (64,) * 7}
    config = Wav2Vec2Config(**(small if shrink else {"num_hidden_layers": 4}))
    return Wav2Vec2Model(config).eval(), {"input_values": torch.randn(1, 4000 if shrink else 16000)}


def _clip_vision(shrink: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    small = {**_SMALL, "intermediate_size": 128, "image_size": 64}
    config = CLIPVisionConfig(**(small if shrink else {}))
    return CLIPVisionModel(config).eval(), _image(config.image_size)


_T5 = {"d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 2, "num_heads": 2, "vocab_size": 200}
_SEGFORMER = {"depths": [1, 1, 1, 1], "decoder_hidden_size": 64}
_DETR = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "d_model": 64,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}

LANGUAGE: dict[str, Callable[[bool], Any]] = {
    "bert-base": _text("BertModel", "BertConfig", _SMALL_TEXT),
    "distilbert": _text(
        "DistilBertModel",
        "DistilBertConfig",
        {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128, "vocab_size": 200},
    ),
    "roberta-base": _text("RobertaModel", "RobertaConfig", _SMALL_TEXT),
    "albert-base": _text(
        "AlbertModel",
        "AlbertConfig",
        {**_SMALL_TEXT, "embedding_size": 32},
        hidden_size=768,
        num_attention_heads=12,
        intermediate_size=3072,
    ),
    "electra-small": _text("ElectraModel", "ElectraConfig", {**_SMALL_TEXT, "embedding_size": 32}),
    "mobilebert": _text(
        "MobileBertModel", "MobileBertConfig", {"num_hidden_layers": 2, "vocab_size": 200}
    ),
    "deberta-v2": _text(
        "DebertaV2Model",
        "DebertaV2Config",
        {**_SMALL_TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=1536,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    ),
    "squeezebert": _text(
        "SqueezeBertModel", "SqueezeBertConfig", {**_SMALL_TEXT, "embedding_size": 64}
    ),
    "mpnet": _text("MPNetModel", "MPNetConfig", _SMALL_TEXT),
    "modernbert": _text(
        "ModernBertModel",
        "ModernBertConfig",
        {**_SMALL_TEXT, "pad_token_id": 0},
        num_hidden_layers=6,
        pad_token_id=0,
    ),
    "gpt2": _text(
        "GPT2Model", "GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 2, "vocab_size": 200}
    ),
    "opt-125m": _text(
        "OPTModel",
        "OPTConfig",
        {**_SMALL, "ffn_dim": 128, "vocab_size": 200, "word_embed_proj_dim": 64},
    ),
    "gpt-neox": _text(
        "GPTNeoXModel",
        "GPTNeoXConfig",
        _SMALL_TEXT,
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
    ),
    "llama-tiny": _text(
        "LlamaModel",
        "LlamaConfig",
        {**_SMALL_TEXT, "num_key_value_heads": 1},
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=1024,
        vocab_size=32000,
    ),
    "t5-encoder": _text("T5EncoderModel", "T5Config", _T5),
    "clip-text": _text(
        "CLIPTextModel",
        "CLIPTextConfig",
        {**_SMALL_TEXT, "eos_token_id": 1},
        max_position_embeddings=TOKENS,
    ),
    "clip-vision": _clip_vision,
    "vit-mae": _vision(
        "ViTModel", "ViTConfig", {**_SMALL, "intermediate_size": 128, "image_size": 64}, 224, 64
    ),
    "dinov2": _vision(
        "Dinov2Model",
        "Dinov2Config",
        {**_SMALL, "image_size": 56},
        224,
        56,
        hidden_size=384,
        num_attention_heads=6,
    ),
    "segformer-b0": _vision(
        "SegformerForSemanticSegmentation", "SegformerConfig", _SEGFORMER, 256, 64
    ),
    "mobilevit-seg": _vision("MobileViTForSemanticSegmentation", "MobileViTConfig", {}, 256, 64),
    "yolos-tiny": _vision(
        "YolosModel",
        "YolosConfig",
        {**_SMALL, "intermediate_size": 128, "image_size": [64, 64], "num_detection_tokens": 8},
        256,
        64,
        image_size=[256, 256],
        hidden_size=192,
        num_attention_heads=3,
        intermediate_size=768,
    ),
    "detr": _vision(
        "DetrForObjectDetection",
        "DetrConfig",
        _DETR,
        256,
        64,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
    ),
    "whisper-encoder": _whisper,
    "wav2vec2": _wav2vec2,
}


def language_model(name: str, small: bool) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model ``name`` in evaluation mode and its keyword arguments."""
    torch.manual_seed(0)
    module, inputs = LANGUAGE[name](small)
    return module, inputs
