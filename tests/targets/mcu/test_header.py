"""model.h: what it says compiles as C and as C++, whatever tensors and labels are called."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from fixtures.manifests import firmware_manifest
from millijoule.bundle import TensorSpec
from millijoule.targets.mcu.header import model_header
from millijoule.targets.toolchain import runtime_include

LABELS = ("yes", 'no "quoted"', "ü*/ {", "back\\slash", "??/", "%d")

CHECK = """\
#include "model.h"
#include <string.h>
static const char *const labels[MJ_MODEL_LABELS] = MJ_MODEL_LABEL_NAMES;
int main(void) {
  MJ_MODEL_INPUT_0_TYPE x[MJ_MODEL_INPUT_0_ELEMENTS];
  if (sizeof x != MJ_MODEL_INPUT_0_BYTES || MJ_MODEL_INPUT_0_BYTES != 16u) return 1;
  if (MJ_MODEL_INPUTS != 4u || MJ_MODEL_INPUT_VALID != 1) return 2;
  if (strcmp(MJ_MODEL_INPUT_2_NAME, "a.b") || strcmp(labels[3], "back\\\\slash")) return 3;
  if (strcmp(labels[1], "no \\"quoted\\"") != 0 || strcmp(labels[4], "?\\?/") != 0) return 4;
  if (MJ_ALIGNMENT != 64u || MJ_MODEL_ARENA_BYTES != 1024u || MJ_MODEL_DELAY != 2) return 5;
#ifdef MJ_MODEL_INPUT_A_B
  return 6; /* two inputs would be called so */
#endif
  return 0;
}
"""


@pytest.mark.parametrize(
    "compiler", [("cc", "-std=c11", "-x", "c"), ("c++", "-std=c++17", "-x", "c++")]
)
def test_header_compiles(compiler: tuple[str, ...], tmp_path: Path) -> None:
    manifest = firmware_manifest()
    odd = (TensorSpec("a.b", (1, 2), "int8"), TensorSpec("a-b", (1,), "float16"))
    manifest = dataclasses.replace(
        manifest,
        model=dataclasses.replace(manifest.model, name="*/ evil ü \\", labels=LABELS),
        inputs=(*manifest.inputs, *odd),
    )
    (tmp_path / "model.h").write_text(model_header(manifest, 1000))
    (tmp_path / "main.c").write_text(CHECK)
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{tmp_path}", f"-I{runtime_include()}"]
    program = tmp_path / "main"
    subprocess.run([*compiler, *flags, tmp_path / "main.c", "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


def test_header_of_a_model_without_labels(tmp_path: Path) -> None:
    manifest = firmware_manifest()
    manifest = dataclasses.replace(
        manifest, model=dataclasses.replace(manifest.model, labels=None), streaming=None
    )
    text = model_header(manifest, 0)
    assert "#define MJ_MODEL_LABELS 0u" in text
    assert "LABEL_NAMES" not in text
    assert "#define MJ_MODEL_STREAMING 0" in text
