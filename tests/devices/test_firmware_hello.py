"""The smallest example: exclusive or, on every core and on this computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.devices import require
from fixtures.firmware import EXAMPLES, configure, package, run_command, run_example

MODEL = f"{EXAMPLES / 'hello_model' / 'xor.py'}:make"
TABLE = "0 xor 0 = 0\n0 xor 1 = 1\n1 xor 0 = 1\n1 xor 1 = 0\n"


@pytest.mark.parametrize(
    ("core", "emit"),
    [
        ("cortex-m3", "object"),
        ("cortex-m4", "object"),
        ("cortex-m4", "c"),
        ("cortex-m55", "object"),
    ],
)
def test_on_a_core(
    core: str, emit: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    require(f"qemu:{core}")
    options = ("--target", core, "--emit", emit)
    exported = package(tmp_path_factory, f"xor-{core}-{emit}", MODEL, *options)
    configure("hello_model", exported, tmp_path)
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stdout
    assert TABLE in done.stdout


def test_on_this_computer(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require("gcc-arm-none-eabi", "newlib")  # what a build for a core needs
    options = ("--target", "cortex-m4", "--emit", "c")
    exported = package(tmp_path_factory, "xor-cortex-m4-c", MODEL, *options)
    configure("hello_model", exported, tmp_path, "-DBOARD=host")
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stdout
    assert TABLE in done.stdout


def test_board_can_be_chosen(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require("qemu:cortex-m4", "qemu:cortex-m7")
    options = ("--target", "cortex-m4", "--emit", "object")
    exported = package(tmp_path_factory, "xor-cortex-m4-object", MODEL, *options)
    configure("hello_model", exported, tmp_path, "-DBOARD=mps2-an500")  # of a Cortex-M7
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stdout
    assert TABLE in done.stdout
    with pytest.raises(AssertionError, match=r"\[board\] must be mps2-an385, .* but is\s+'nucleo'"):
        configure("hello_model", exported, tmp_path, "-DBOARD=nucleo")


@pytest.mark.parametrize("example", ["hello_model", "kws_cortex_m"])
def test_missing_package_is_named(example: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="MJ_PACKAGE must be a folder that 'mj export' wrote"):
        configure(example, tmp_path / "nowhere", tmp_path / "build")


ZEPHYR = """
cmake_minimum_required(VERSION 3.20)
set(CMAKE_TOOLCHAIN_FILE {package}/cmake/arm-none-eabi.cmake)
project(app LANGUAGES C ASM)
add_library(zephyr_interface INTERFACE)
function(zephyr_append_cmake_library library)
  set_property(GLOBAL APPEND PROPERTY libraries ${{library}})
endfunction()
function(zephyr_include_directories)
  include_directories(${{ARGV}})
endfunction()
set(CONFIG_MILLIJOULE y)
set(CONFIG_MILLIJOULE_PACKAGE {package})
add_subdirectory({module}/zephyr module)
get_property(libraries GLOBAL PROPERTY libraries)
add_executable(app {example}/main.c)
target_link_libraries(app PRIVATE ${{libraries}})
include({package}/boards/boards.cmake)
mj_link_board(app)
"""


def test_zephyr_module_is_valid_cmake(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With stand-ins for Zephyr: names of its functions are checked by nothing here."""
    require("qemu:cortex-m4")
    options = ("--target", "cortex-m4", "--emit", "object")
    exported = package(tmp_path_factory, "xor-cortex-m4-object", MODEL, *options)
    module = EXAMPLES / "zephyr_module"
    text = ZEPHYR.format(package=exported, module=module, example=EXAMPLES / "hello_model")
    (tmp_path / "CMakeLists.txt").write_text(text)
    run_command("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    done = run_example(tmp_path / "build")
    assert done.returncode == 0, done.stdout
    assert TABLE in done.stdout
    assert (module / "zephyr" / "module.yml").read_text().startswith("name: millijoule\nbuild:\n")
