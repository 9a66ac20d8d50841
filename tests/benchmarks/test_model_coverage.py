"""A representative dozen of public models, shrunken: they come in and give what torch gives.

`benchmarks/model_coverage.py` runs the whole list at full size.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mjbench.coverage.measure import LIMIT, NAMES, measure

from millijoule.converters import convert

DOZEN = (
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "tnt_s_patch16_224",
    "xcit_nano_12_p16_224",
    "edgenext_xx_small",
    "convnext_atto",
    "bert-base",
    "roberta-base",
    "deberta-v2",
    "gpt2",
    "t5-encoder",
    "clip-vision",
)


@pytest.mark.parametrize("name", DOZEN)
def test_like_torch(name: str, tmp_path: Path) -> None:
    assert measure(name, True, tmp_path, count_kernels=False).max_relative_error <= LIMIT


def test_the_list_is_long_and_has_names_once() -> None:
    assert len(NAMES) >= 80
    assert len(set(NAMES)) == len(NAMES)


def test_outputs_of_transformers_have_their_names() -> None:
    from mjbench.coverage.measure import make

    module, inputs = make("distilbert", True)
    module.config.output_hidden_states = True
    model = convert(module, example_inputs=inputs)
    assert [n for n, _ in model.inputs] == ["input_ids", "attention_mask"]
    names = [n for n, _ in model.outputs]
    assert names == ["last_hidden_state", "hidden_states.0", "hidden_states.1", "hidden_states.2"]
