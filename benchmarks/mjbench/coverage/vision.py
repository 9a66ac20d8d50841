"""Vision models of timm with random weights: name → arguments of the full size and the small one.

The small form, for tests, keeps every operator of the architecture and shrinks image, depth or
width where the model's constructor lets them be chosen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mjbench import torchvision_standin

Small = dict[str, Any]

# name → (small arguments, small image side or None for the model's own)
VISION: dict[str, tuple[Small, int | None]] = {
    "vit_tiny_patch16_224": ({"img_size": 64, "depth": 2}, 64),
    "deit_tiny_distilled_patch16_224": ({"img_size": 64, "depth": 2}, 64),
    "swin_tiny_patch4_window7_224": ({"img_size": 56, "depths": (2, 2), "num_heads": (3, 6)}, 56),
    "swinv2_tiny_window8_256": ({"img_size": 64, "depths": (2, 2), "num_heads": (3, 6)}, 64),
    "pvt_v2_b0": ({"depths": (1, 1, 1, 1)}, 64),
    "twins_svt_small": ({"img_size": 64, "depths": (1, 1, 2, 1)}, 64),
    "twins_pcpvt_small": ({"img_size": 64, "depths": (1, 1, 1, 1)}, 64),
    "tnt_s_patch16_224": ({"img_size": 64, "depth": 2}, 64),
    "xcit_nano_12_p16_224": ({"img_size": 64, "depth": 2}, 64),
    "edgenext_xx_small": ({"depths": (1, 2, 2, 2)}, 64),
    "mobilevit_xxs": ({}, 64),
    "mobilevitv2_050": ({}, 64),
    "efficientformer_l1": ({"depths": (1, 1, 2, 2)}, 224),
    "efficientformerv2_s0": ({}, 224),
    "poolformer_s12": ({}, 64),
    "convnext_atto": ({"depths": (1, 1, 1, 1)}, 64),
    "convnextv2_atto": ({"depths": (1, 1, 1, 1)}, 64),
    "resnet18": ({"layers": (1, 1, 1, 1)}, 64),
    "resnet50": ({"layers": (1, 1, 1, 1)}, 64),
    "regnety_002": ({}, 64),
    "mobilenetv3_small_100": ({}, 64),
    "mobilenetv4_conv_small": ({}, 64),
    "efficientnet_b0": ({}, 64),
    "ghostnet_100": ({}, 64),
    "mobileone_s0": ({}, 64),
    "fastvit_t8": ({"layers": (1, 1, 1, 1)}, 64),
    "repvgg_a0": ({}, 64),
    "repvit_m0_9": ({}, 64),
    "densenet121": ({"block_config": (2, 2, 2, 2)}, 64),
    "mixer_s16_224": ({"img_size": 64}, 64),
    "gmlp_ti16_224": ({"img_size": 64}, 64),
    "resmlp_12_224": ({"img_size": 64}, 64),
    "beit_base_patch16_224": ({"img_size": 64, "depth": 2, "embed_dim": 192, "num_heads": 3}, 64),
    "cait_xxs24_224": ({"img_size": 64, "depth": 2}, 64),
    "coat_lite_tiny": ({"img_size": 64}, 64),
    "levit_128s": ({}, 224),
    "nextvit_small": ({}, 64),
    "maxvit_rmlp_pico_rw_256": ({}, 256),
    "eva02_tiny_patch14_224": ({"img_size": 56, "depth": 2}, 56),
    "crossvit_9_240": ({}, 240),
    "volo_d1_224": ({}, 224),
    "visformer_tiny": ({"img_size": 224}, 224),
    "pit_ti_224": ({}, 224),
    "convit_tiny": ({"img_size": 64, "depth": 4, "local_up_to_layer": 2}, 64),
    "hiera_tiny_224": ({}, 224),
    "focalnet_tiny_srf": ({}, 64),
    "tiny_vit_5m_224": ({}, 224),
    "efficientvit_b0": ({}, 64),
    "efficientvit_m0": ({}, 224),
    "davit_tiny": ({"depths": (1, 1, 1, 1)}, 224),
    "mvitv2_tiny": ({}, 224),
    "gcvit_xxtiny": ({}, 224),
    "nest_tiny": ({}, 224),
    "inception_next_atto": ({}, 64),
    "swiftformer_xs": ({}, 224),
    "shvit_s1": ({}, 224),
    "starnet_s1": ({}, 64),
    "mambaout_femto": ({}, 64),
    "sequencer2d_s": ({"layers": (1, 1, 1, 1)}, 224),
}


def vision_model(name: str, small: bool) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The timm model ``name`` in evaluation mode and one image ``[1, 3, S, S]``."""
    torchvision_standin.install()
    import timm

    torchvision_standin.uninstall()
    arguments, side = VISION[name]
    torch.manual_seed(0)
    model = timm.create_model(name, **(arguments if small else {})).eval()
    own = model.default_cfg["input_size"][-1]
    size = side if small and side else own
    return model, (torch.randn(1, 3, size, size),)
