"""Start-up code, semihosting and linker scripts of the emulated boards."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fixtures.devices import require
from fixtures.firmware import BOARDS, emulate, link

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55")
MAIN = Path(__file__).with_name("board_main.c")


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    require(f"qemu:{name}")
    return name


@pytest.fixture
def image(core: str, tmp_path: Path) -> Path:
    return link(core, [MAIN], tmp_path / "board.elf", "-Wl,--defsym=MJ_STACK_BYTES=4K")


@pytest.mark.parametrize("promise", ["memory", "stack"])
def test_memory_is_set_up_before_main(core: str, image: Path, promise: str) -> None:
    assert emulate(core, image, promise).returncode == 0


def test_files_of_the_host(core: str, image: Path, tmp_path: Path) -> None:
    assert emulate(core, image, "files", tmp_path / "file").returncode == 0
    assert (tmp_path / "file").read_text() == "0123456789"


def test_text_and_exit_code(core: str, image: Path) -> None:
    done = emulate(core, image, "else")
    assert done.returncode == 7
    assert done.stdout + done.stderr == "seven\n"


def test_fault_names_the_instruction(core: str, image: Path) -> None:
    done = emulate(core, image, "undefined")
    assert done.returncode == 99
    found = re.search(r"fault: status 0x00010000, pc (0x\w{8}), lr", done.stdout + done.stderr)
    assert found
    nm = subprocess.run(["arm-none-eabi-nm", image], capture_output=True, text=True, check=True)
    main = re.search(r"^(\w{8}) T main$", nm.stdout, re.MULTILINE)
    assert main
    assert 0 <= int(found[1], 16) - int(main[1], 16) < 400


def test_stack_overflow_is_reported(core: str, image: Path) -> None:
    done = emulate(core, image, "overflow")
    assert done.returncode == 99
    assert "the stack has overflowed: link with a larger MJ_STACK_BYTES" in (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize(("region", "budget"), [("FLASH", 512), ("RAM", 5_000)])
def test_budget_of_the_part_is_kept(core: str, region: str, budget: int, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=rf"region `{region}' overflowed by \d+ bytes"):
        link(core, [MAIN], tmp_path / "b.elf", f"-Wl,--defsym=MJ_{region}_BYTES={budget}")


def test_every_board_has_the_same_sections() -> None:
    scripts = sorted(BOARDS.glob("mps*.ld"))
    assert len(scripts) >= len(CORES)
    assert all("INCLUDE cortex_m.ld" in script.read_text() for script in scripts)
