"""Generated C: strict compilers accept it, and it says what the manifest says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.models import LMUFORMER, golden_bundle
from millijoule.bundle import Bundle
from millijoule.converters import convert
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets import toolchain
from millijoule.targets.cpu.codegen import (
    Memory,
    Signature,
    generate_entry,
    memory_of,
)
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import get_target

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")


def compile_strictly(source: str, folder: Path) -> None:
    (folder / "entry.c").write_text(source)
    include = f"-I{toolchain.runtime_include()}"
    out = str(folder / "entry.o")
    toolchain.find_compiler().run([*STRICT, include, "-c", str(folder / "entry.c"), "-o", out])


def entry_of(model: Model) -> str:
    plan = make_plan(lower_for_cpu(model.module, get_target("host"), model.layers))
    signature = Signature(model.inputs, model.outputs, model.states)
    delay = model.streaming.delay if model.streaming else 0
    return generate_entry(model.name, plan, signature, memory_of(plan, signature, 0), delay)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
def test_strict_compilers_accept_it(streaming: bool, tmp_path: Path) -> None:
    source = entry_of(convert(LMUFORMER[1].path, streaming=streaming))
    compile_strictly(source, tmp_path)
    assert str(tmp_path) not in source


@pytest.mark.parametrize(
    "name", ['a "quoted" \\ name', "line\nbreak\x01", "ears 👂 für", "??/", "%s", "*/ */"]
)
def test_any_name_becomes_a_string(name: str, tmp_path: Path) -> None:
    signature = Signature((("x", TensorType((2,), "float32")),), ((name, TensorType((), "int64")),))
    plan = Plan()
    compile_strictly(generate_entry(name, plan, signature, Memory(0, 0, 0), 0), tmp_path)
    # the compiler's own idea of the string
    probe = tmp_path / "probe.c"
    probe.write_text(
        (tmp_path / "entry.c").read_text()
        + "#include <stdio.h>\nint main(void) { fputs(mj_model.name, stdout); return 0; }\n"
    )
    include = f"-I{toolchain.runtime_include()}"
    toolchain.find_compiler().run(["-std=c11", include, str(probe), "-o", str(tmp_path / "probe")])
    printed = subprocess.run([tmp_path / "probe"], capture_output=True, check=True).stdout
    assert printed.decode() == name


def test_memory_layout() -> None:
    memory = Memory(planned=100, workspace=10, states=192)
    assert (memory.workspace_offset, memory.state_offset, memory.total) == (128, 192, 576)
    states = tuple((f"s{i}", TensorType((i + 1,), "float32")) for i in range(20))
    total = memory_of(Plan(planned_bytes=64), Signature((), (), states), 0).states
    assert total == sum(-(-t.nbytes // 64) * 64 for _, t in states)


MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "millijoule.h"

static void *read_all(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return NULL;
  *size = (size_t)ftell(file);
  rewind(file);
  void *data = aligned_alloc(MJ_ALIGNMENT, (*size / MJ_ALIGNMENT + 1) * MJ_ALIGNMENT);
  if (data == NULL || fread(data, 1, *size, file) != *size) return NULL;
  fclose(file);
  return data;
}

/* main WEIGHTS INPUT > OUTPUT: frames of INPUT one after another, the first output of each. */
int main(int argc, char **argv) {
  size_t weights_bytes, input_bytes;
  const mj_model_desc *model = &mj_model;
  void *weights = argc == 3 ? read_all(argv[1], &weights_bytes) : NULL;
  const char *input = argc == 3 ? read_all(argv[2], &input_bytes) : NULL;
  void *arena = aligned_alloc(MJ_ALIGNMENT, model->arena_bytes);
  void *output = malloc(model->outputs[0].bytes);
  mj_context *ctx = malloc(mj_context_size());
  if (!weights || !input || !arena || !output || !ctx) return 10;
  if (mj_init(ctx, model, weights, weights_bytes, arena, model->arena_bytes) != MJ_OK) return 11;
  fprintf(stderr, "{\"arena\": %zu, \"workspace\": %zu, \"state\": %zu, \"delay\": %d, "
          "\"kernels\": %u, \"name\": \"%s\"}\n", model->arena_bytes, model->workspace_bytes,
          model->state_bytes, (int)model->delay, (unsigned)model->n_kernels, model->name);
  size_t frame = model->inputs[0].bytes;
  int steps = (int)(input_bytes / frame);
  for (int t = 0; t < steps + model->delay; ++t) {
    const int32_t valid = t < steps;
    const void *inputs[] = {input + (size_t)(valid ? t : 0) * frame, &valid};
    void *outputs[] = {output};
    if (mj_run(ctx, inputs, outputs) != MJ_OK) return 12;
    if (t >= model->delay) fwrite(output, 1, model->outputs[0].bytes, stdout);
  }
  mj_deinit(ctx);
  return 0;
}
"""


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
def test_a_c_program_runs_the_model(
    streaming: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Link a program with the library of a bundle: no Python, no TVM."""
    golden = LMUFORMER[1]
    bundle_path = golden_bundle(tmp_path_factory, golden, *(["--streaming"] if streaming else []))
    x = golden.inputs["x"][:1].copy()
    with Bundle.open(bundle_path) as bundle:
        manifest = bundle.manifest
        (tmp_path / "libmodel.so").write_bytes(bundle.read(manifest.program.library))
        (tmp_path / "weights.bin").write_bytes(bundle.read(manifest.program.weights))
    (tmp_path / "main.c").write_text(MAIN)
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    toolchain.find_compiler().run(
        [
            *STRICT,
            f"-I{toolchain.runtime_include()}",
            str(tmp_path / "main.c"),
            str(tmp_path / "libmodel.so"),
            f"-Wl,-rpath,{tmp_path}",
            "-o",
            str(tmp_path / "main"),
        ]
    )
    done = subprocess.run(
        [tmp_path / "main", tmp_path / "weights.bin", tmp_path / "x.bin"],
        capture_output=True,
        check=True,
    )
    described = json.loads(done.stderr)
    arena = manifest.arena
    assert described["arena"] == arena.bytes
    assert described["workspace"] == arena.workspace_bytes
    assert described["state"] == arena.state_bytes
    assert described["kernels"] == len(manifest.kernels)
    assert described["name"] == manifest.model.name
    got = np.frombuffer(done.stdout, np.float32)
    with mj.load(bundle_path) as session:
        outputs = session.run({"x": x})
    expected = outputs["all_seq_logits" if streaming else "logits"]
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)
    reference = golden.outputs["all_seq_logits" if streaming else "logits"]
    reference = reference[:, :1] if streaming else reference[:1]
    np.testing.assert_allclose(got.reshape(reference.shape), reference, rtol=0, atol=2e-5)
