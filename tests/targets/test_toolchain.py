"""Finding a compiler and linking shared libraries with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millijoule.errors import DeviceError
from millijoule.targets import toolchain
from millijoule.targets.toolchain import Toolchain, find_compiler, link_shared

PUBLIC = "#pragma GCC visibility push(default)\n"
SOURCE = (
    PUBLIC
    + """
const char *mj_where(void) { return __FILE__; }
int hidden(void);
int mj_answer(void) { return hidden(); }
"""
)
OTHER = "int hidden(void) { return 42; }\n"


def programs(folder: Path, *names: str) -> str:
    """A PATH on which only `names` exist, each of them the real compiler."""
    folder.mkdir()
    compiler = shutil.which("cc")
    assert compiler is not None
    for name in names:
        (folder / name).symlink_to(compiler)
    return str(folder)


def link(folder: Path, source: str = SOURCE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "main.c").write_text(source)
    (folder / "other.c").write_text(OTHER)
    sources = [folder / "main.c", folder / "other.c"]
    return link_shared([], sources, [toolchain.runtime_include()], folder / "libmodel.so")


def test_cc_comes_first_and_may_hold_arguments(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "gcc", "special")
    assert find_compiler({"PATH": path, "CC": "special -m64"}).command == ("special", "-m64")


@pytest.mark.parametrize(
    ("present", "chosen"), [(("gcc", "clang", "cc"), "cc"), (("clang", "gcc"), "gcc")]
)
def test_usual_names_are_tried_in_order(
    tmp_path: Path, present: tuple[str, ...], chosen: str
) -> None:
    path = programs(tmp_path / "bin", *present)
    assert find_compiler({"PATH": path}).command == (chosen,)


def test_wrong_cc_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no program 'nocc'; correct CC or unset it"):
        find_compiler({"PATH": programs(tmp_path / "bin", "cc"), "CC": "nocc"})


def test_ziglang_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    found = find_compiler({"PATH": programs(tmp_path / "bin")})
    assert found.command == (sys.executable, "-m", "ziglang", "cc")


def test_no_compiler_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"apt-get install gcc") as caught:
        find_compiler({"PATH": programs(tmp_path / "bin")})
    assert "\n" not in str(caught.value)


def test_linked_library_works_and_exports_only_the_api(tmp_path: Path) -> None:
    library = ctypes.CDLL(str(link(tmp_path / "a")))
    assert library.mj_answer() == 42
    with pytest.raises(AttributeError):
        library.hidden  # noqa: B018


def test_links_are_identical_in_any_folder_and_hold_no_path(tmp_path: Path) -> None:
    first = link(tmp_path / "a").read_bytes()
    second = link(tmp_path / "a longer name").read_bytes()
    assert first == second
    assert str(tmp_path).encode() not in first


def test_nothing_but_the_library_is_left_behind(tmp_path: Path) -> None:
    link(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "a")) == ["libmodel.so", "main.c", "other.c"]


def test_compiler_error_is_quoted_and_leaves_no_library(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"main\.c:1:\d+: error: .*nonsense"):
        link(tmp_path / "a", "nonsense mj_answer;\n")
    assert not (tmp_path / "a" / "libmodel.so").exists()


def test_undefined_symbol_is_found_at_link_time(tmp_path: Path) -> None:
    source = PUBLIC + "int missing(void); int mj_answer(void) { return missing(); }\n"
    with pytest.raises(DeviceError, match=r"undefined .*missing"):
        link(tmp_path / "a", source)


def test_unrunnable_compiler_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match=r"cannot run the C compiler 'nocc'"):
        Toolchain(("nocc",)).run(["--version"])


def test_flags_of_a_toolchain_reach_the_compiler() -> None:
    macros = Toolchain((*find_compiler().command,), flags=("-DMJ_MARK=7",)).run(
        ["-dM", "-E", "-x", "c", os.devnull]
    )
    assert "#define MJ_MARK 7" in macros


def test_version_is_the_compilers_first_line() -> None:
    cc = find_compiler()
    printed = subprocess.run([*cc.command, "--version"], capture_output=True, text=True, check=True)
    assert toolchain.version(cc) == printed.stdout.splitlines()[0]


def test_runtime_sources_are_found() -> None:
    names = {path.name for path in toolchain.runtime_sources()}
    assert names == {"mj_runtime.c", "mj_threads.c", "mj_workspace.c"}
    assert (toolchain.runtime_include() / "millijoule.h").is_file()
