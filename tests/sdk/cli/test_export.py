"""mj export: a package that CMake finds, whole or not at all, whatever the names in the bundle."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from fixtures.manifests import firmware_manifest, small_bundle, small_files
from fixtures.microcontrollers import require_tools
from fixtures.models import LMUFORMER, golden_bundle
from millijoule.bundle import Bundle, Manifest, write_bundle
from millijoule.cli import main
from millijoule.errors import BundleError, UnsupportedError, UsageError
from millijoule.export import PACKAGE_FILE, export_package

Capture = pytest.CaptureFixture[str]

PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(user LANGUAGES C)
find_package(millijoule 99 CONFIG QUIET)
if(millijoule_FOUND)
  message(FATAL_ERROR "there is no version 99")
endif()
find_package(millijoule 0.1 REQUIRED CONFIG)
find_package(millijoule REQUIRED CONFIG) # as a library of the project might
if(NOT TARGET millijoule::lmuformer-psmnist-spiking-s)
  message(FATAL_ERROR "the model has no target of its own name")
endif()
add_library(wrapper STATIC wrapper.c)
target_link_libraries(wrapper PUBLIC millijoule::model)
add_executable(user main.c)
target_compile_options(user PRIVATE -Wall -Wextra -Werror)
target_link_libraries(user PRIVATE wrapper millijoule::model)
target_link_options(user PRIVATE ${USER_LINK})
"""

WRAPPER = """\
#include "model.h"
static uint8_t arena[MJ_MODEL_ARENA_BYTES] __attribute__((aligned(MJ_ALIGNMENT)));
mj_context context;
mj_status start(void);
mj_status start(void) {
  return mj_init(&context, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena, sizeof arena);
}
"""

MAIN = """\
#include "model.h"
extern mj_context context;
mj_status start(void);
int main(void) {
  static MJ_MODEL_INPUT_0_TYPE x[MJ_MODEL_INPUT_0_ELEMENTS];
  static MJ_MODEL_INPUT_1_TYPE valid[MJ_MODEL_INPUT_1_ELEMENTS] = {1};
  static MJ_MODEL_OUTPUT_0_TYPE y[MJ_MODEL_OUTPUT_0_ELEMENTS];
  const void *in[MJ_MODEL_INPUTS];
  void *out[MJ_MODEL_OUTPUTS];
  in[MJ_MODEL_INPUT_X] = x;
  in[MJ_MODEL_INPUT_VALID] = valid;
  out[0] = y;
  return start() != MJ_OK || mj_run(&context, in, out) != MJ_OK || y[0] == 0;
}
"""


def exported(bundle: Path, out: Path) -> Path:
    """`mj export` of ``bundle``."""
    assert main(["export", str(bundle), "-o", str(out), "--quiet"]) == 0
    return out


def build_project(package: Path, folder: Path, *options: str) -> Path:
    """Configure and build a user's project with the package; the program."""
    folder.mkdir()
    for name, text in (("CMakeLists.txt", PROJECT), ("wrapper.c", WRAPPER), ("main.c", MAIN)):
        (folder / name).write_text(text)
    configure = ["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={package}"]
    for command in ([*configure, *options], ["cmake", "--build", folder / "build"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "user"


@pytest.mark.parametrize("emit", ["object", "c"])
def test_project_of_a_user(
    emit: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cross-compiled from either form; the C sources also for this machine, where they run."""
    require_tools()
    options = ("--target", "cortex-m4", "--streaming", "--emit", emit)
    bundle = golden_bundle(tmp_path_factory, LMUFORMER[-1], *options)
    (tmp_path / "a folder").mkdir()
    package = exported(bundle, tmp_path / "a folder" / "package")
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={package}/cmake/arm-none-eabi.cmake"
    link = "-DUSER_LINK=-specs=nano.specs;-specs=nosys.specs;-Wl,--gc-sections"
    image = build_project(package, tmp_path / "cross", toolchain, link)
    assert image.read_bytes()[:4] == b"\x7fELF"
    if emit == "c":
        program = build_project(package, tmp_path / "here")
        assert subprocess.run([program], check=False).returncode == 0
        assert main(["export", str(bundle), "-o", str(package), "--weights", "c", "--quiet"]) == 0
        assert [p.name for p in (package / "weights").iterdir()] == ["weights.c"]
        program = build_project(package, tmp_path / "array")
        assert subprocess.run([program], check=False).returncode == 0


def bare_metal(out: Path, **changes: object) -> Path:
    """A bundle for a microcontroller with nothing real in it."""
    manifest = dataclasses.replace(firmware_manifest(), **changes)
    files = {n: d for n, d in small_files().items() if n != "program/libmodel.so"}
    files |= {"program/libmodel.a": b"!<arch>\n", "program/model.h": b"", "program/weights.S": b""}
    write_bundle(out, manifest, files)
    return out


def test_names_mean_nothing_to_cmake(tmp_path: Path) -> None:
    model = dataclasses.replace(firmware_manifest().model, name='x") message(FATAL ${y} #]] ü')
    path = bare_metal(tmp_path / "x.mjb", model=model)
    with Bundle.open(path) as bundle:
        text = (export_package(bundle, tmp_path / "p") / PACKAGE_FILE).read_text()
    assert "millijoule::x-message-FATAL-y" in text
    assert "${y}" not in text
    assert '")' not in text.replace('weights.bin\\""', "")


def test_an_earlier_export_is_replaced_and_nothing_else(tmp_path: Path, capsys: Capture) -> None:
    path, out = bare_metal(tmp_path / "x.mjb"), tmp_path / "p"
    exported(path, out)
    before = sorted(p.relative_to(out) for p in out.rglob("*"))
    (out / "stale").write_text("")
    exported(path, out)
    assert sorted(p.relative_to(out) for p in out.rglob("*")) == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("")
    assert main(["export", str(path), "-o", str(mine)]) == 2
    assert "did not write" in capsys.readouterr().err
    assert main(["export", str(path), "-o", str(path)]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["export", str(path), "-o", str(tmp_path / "no" / "where")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"x.mjb", "p", "mine"}
    assert os.listdir(mine) == ["thesis.tex"]


def test_failure_keeps_the_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bare_metal(tmp_path / "x.mjb")
    out = exported(path, tmp_path / "p")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with Bundle.open(path) as bundle, pytest.raises(UsageError, match="No space left"):
        export_package(bundle, out)
    assert (out / PACKAGE_FILE).is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"x.mjb", "p"}


def test_other_programs_are_refused(tmp_path: Path) -> None:
    rule = "only programs for microcontrollers"
    with (
        Bundle.open(small_bundle(tmp_path / "x.mjb")) as bundle,
        pytest.raises(UnsupportedError, match=rule),
    ):
        export_package(bundle, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_flags_that_are_none_are_not_written(tmp_path: Path) -> None:
    manifest: Manifest = firmware_manifest()
    assert manifest.firmware is not None
    firmware = dataclasses.replace(manifest.firmware, flags=('-mcpu=x") evil(',))
    with pytest.raises(BundleError, match=r"firmware.flags\[0\]"):
        bare_metal(tmp_path / "x.mjb", firmware=firmware)


def test_what_is_printed(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bare_metal(Path("kws.mjb"))
    assert main(["export", "kws.mjb"]) == 0
    assert capsys.readouterr().out.startswith("kws: tiny for cortex-m4, ")
    assert (tmp_path / "kws" / "lib" / "libmodel.a").is_file()


def test_inspect_shows_what_it_takes(tmp_path: Path, capsys: Capture) -> None:
    path = bare_metal(tmp_path / "x.mjb")
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "flash            2,000 bytes of 524,288: 1,000 weights, 900 code, 100 constants" in text
    assert "RAM              1,112 bytes of 131,072: 1,024 arena, 32 inputs and outputs," in text
    assert "board            nucleo-f446re" in text
    assert "-mcpu=cortex-m4 -mthumb" in text


def test_running_it_here_names_the_emulator(tmp_path: Path, capsys: Capture) -> None:
    path = bare_metal(tmp_path / "x.mjb")
    assert main(["run", str(path)]) == 4
    assert "--device qemu:cortex-m4" in capsys.readouterr().err
