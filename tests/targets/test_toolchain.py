"""Finding a compiler and linking shared libraries with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from millijoule import cpu
from millijoule.errors import DeviceError
from millijoule.targets import compilers, toolchain
from millijoule.targets.target import Target, get_target
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


def hide_ziglang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)


def link(folder: Path, source: str = SOURCE, cc: Toolchain | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "main.c").write_text(source)
    (folder / "other.c").write_text(OTHER)
    sources = [folder / "main.c", folder / "other.c"]
    return link_shared([], sources, [toolchain.runtime_include()], folder / "libmodel.so", cc)


def test_cc_comes_first_and_may_hold_arguments(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", "gcc", "special")
    assert find_compiler(environ={"PATH": path, "CC": "special -m64"}).command == (
        "special",
        "-m64",
    )


@pytest.mark.parametrize(
    ("present", "chosen"), [(("gcc", "clang", "cc"), "cc"), (("clang", "gcc"), "gcc")]
)
def test_usual_names_are_tried_in_order(
    tmp_path: Path, present: tuple[str, ...], chosen: str
) -> None:
    path = programs(tmp_path / "bin", *present)
    assert find_compiler(environ={"PATH": path}).command == (chosen,)


def test_wrong_cc_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no program 'nocc'; correct CC or unset it"):
        find_compiler(environ={"PATH": programs(tmp_path / "bin", "cc"), "CC": "nocc"})


def test_ziglang_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    found = find_compiler(environ={"PATH": programs(tmp_path / "bin")})
    assert found.command == (sys.executable, "-m", "ziglang", "cc")


def test_no_compiler_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_ziglang(monkeypatch)
    with pytest.raises(DeviceError, match=r"apt-get install gcc") as caught:
        find_compiler(environ={"PATH": programs(tmp_path / "bin")})
    assert "\n" not in str(caught.value)


CORTEX_A72, ARMV7 = get_target("cortex-a72"), get_target("armv7")
ON_ARM = cpu.architecture() in ("aarch64", "armv7")
foreign = pytest.mark.skipif(ON_ARM, reason="ARM Linux is no foreign target on ARM")


def test_targets_of_this_machine_use_its_own_compiler() -> None:
    assert find_compiler(get_target("host")) == find_compiler()


@foreign
@pytest.mark.parametrize(
    ("target", "variable"), [(CORTEX_A72, "MJ_CC_AARCH64"), (ARMV7, "MJ_CC_ARMV7")]
)
def test_a_named_cross_compiler_comes_first_and_is_used_as_it_stands(
    target: Target, variable: str, tmp_path: Path
) -> None:
    path = programs(tmp_path / "bin", "special", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")
    found = find_compiler(target, {"PATH": path, variable: "special --sysroot=/x", "CC": "cc"})
    assert (found.command, found.flags) == (("special", "--sysroot=/x"), ())
    with pytest.raises(DeviceError, match=f"{variable} must name a C compiler.*'none'; correct"):
        find_compiler(target, {"PATH": path, variable: "none"})


@foreign
@pytest.mark.parametrize(
    ("target", "flags"),
    [
        (CORTEX_A72, ("-target", "aarch64-linux-gnu.2.28", "-mcpu=cortex_a72")),
        (ARMV7, ("-target", "arm-linux-gnueabihf.2.28", "-mcpu=cortex_a7")),
    ],
)
def test_ziglang_crosses_before_the_distributions_compiler(
    target: Target, flags: tuple[str, ...], tmp_path: Path
) -> None:
    path = programs(tmp_path / "bin", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")
    found = find_compiler(target, {"PATH": path, "HOME": str(tmp_path)})
    assert found.command == (sys.executable, "-m", "ziglang", "cc")
    assert found.flags == flags


@foreign
@pytest.mark.parametrize(
    ("target", "name"),
    [(CORTEX_A72, "aarch64-linux-gnu-gcc"), (ARMV7, "arm-linux-gnueabihf-gcc")],
)
def test_the_distributions_cross_compiler_is_the_last_resort(
    target: Target, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ziglang(monkeypatch)
    found = find_compiler(target, {"PATH": programs(tmp_path / "bin", name)})
    assert found.command == (name,)
    assert f"-mcpu={target.cpu}" in found.flags


@foreign
def test_no_cross_compiler_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ziglang(monkeypatch)
    remedy = r"pip install ziglang' or 'apt-get install gcc-aarch64-linux-gnu'"
    with pytest.raises(DeviceError, match=f"cortex-a72 needs .*MJ_CC_AARCH64.*{remedy}") as caught:
        find_compiler(CORTEX_A72, {"PATH": programs(tmp_path / "bin", "cc")})
    assert "\n" not in str(caught.value)


def test_bare_metal_has_no_linux_compiler() -> None:
    with pytest.raises(DeviceError, match=r"cortex-m4 is bare metal.*aarch64, armv7, x86_64"):
        find_compiler(get_target("cortex-m4"))


@pytest.mark.parametrize("home", [None, "/proc/nobody"], ids=["no home", "read-only home"])
def test_zig_gets_a_cache_that_it_can_write(home: str | None) -> None:
    (_, folder), _ = compilers._zig_caches({"HOME": home} if home else {})
    assert os.access(folder, os.W_OK)
    chosen = compilers._zig_caches({"ZIG_GLOBAL_CACHE_DIR": "/a", "ZIG_LOCAL_CACHE_DIR": "/b"})
    assert chosen == (("ZIG_GLOBAL_CACHE_DIR", "/a"), ("ZIG_LOCAL_CACHE_DIR", "/b"))


@foreign
def test_zig_links_the_same_bytes_in_any_folder_with_any_cache(tmp_path: Path) -> None:
    libraries = []
    for folder in (tmp_path / "a", tmp_path / "a longer name"):
        cc = find_compiler(CORTEX_A72, {"HOME": str(folder)})
        libraries.append(link(folder, cc=cc).read_bytes())
    assert libraries[0] == libraries[1]
    assert str(tmp_path).encode() not in libraries[0]
    assert libraries[0][:4] == b"\x7fELF"
    assert libraries[0][18] == 183  # EM_AARCH64


@foreign
def test_version_of_zig_names_zig() -> None:
    cc = find_compiler(CORTEX_A72, {"HOME": os.environ["HOME"]})
    assert toolchain.version(cc).startswith(f"zig {metadata.version('ziglang')}, clang version ")


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
    assert names == {
        "mj_arm_helpers.c",
        "mj_runtime.c",
        "mj_sizes.c",
        "mj_threads.c",
        "mj_workspace.c",
    }
    assert (toolchain.runtime_include() / "millijoule.h").is_file()
