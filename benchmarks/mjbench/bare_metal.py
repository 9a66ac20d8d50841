"""Single kernels on an emulated Cortex-M: their results, and how many instructions they take.

A tiny image calls every kernel once on operands linked into it and writes all results to a file by
semihosting; QEMU's counting plugin counts from call to return, arguments included (some ten
instructions). Instructions are no cycles, but they are exact and the same in every run.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.remote.devices import get_device
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.kernels import KernelForm
from millijoule.targets.mcu.cores import find_bare_metal_compiler
from millijoule.targets.target import get_target

GUARD, GARBAGE = 64, 0xA5  # bytes around everything that a kernel may write, and what they hold
SDK = Path(__file__).parents[2] / "sdk" / "millijoule"
BOARDS, REMOTE = SDK / "runtime" / "boards", SDK / "remote"
COUNTERS_HEAD = 4  # of the plugin's file, in 64-bit numbers
BEGIN, TICK, END = 0x8060F3AF, 0x8061F3AF, 0x8062F3AF  # markers.h, as words lie in memory


@dataclass(frozen=True)
class Call:
    """One kernel and the operands to call it with; ``results``: its results before scratch."""

    form: KernelForm
    arrays: Sequence[np.ndarray]
    results: Sequence[TensorType]


@dataclass(frozen=True)
class Outcome:
    """What a call returned, and what it took."""

    results: list[np.ndarray]
    instructions: int


def run_calls(core: str, calls: Sequence[Call], folder: Path) -> list[Outcome]:
    """Compile ``calls`` for ``core`` ("cortex-m4"), run them under emulation in ``folder``.

    Raises AssertionError if a kernel writes outside of its results, fails, or needs workspace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kernels = {f"kernel{i}": call.form.func for i, call in enumerate(calls)}
    workspace = compile_object(kernels, get_target(core), folder / "kernels.o")
    assert workspace == 0, f"a kernel takes {workspace} B of workspace; plan it as scratch"
    image = _link(core, calls, folder)
    counts = _emulate(core, image, len(calls), folder)
    memory = np.fromfile(folder / "results.bin", np.uint8)
    return [
        Outcome(_read(memory, slots, call), int(count))
        for call, slots, count in zip(calls, _layout(calls)[0], counts, strict=True)
    ]


def _types(call: Call) -> list[TensorType]:
    return [*call.results, *call.form.scratch]


def _layout(calls: Sequence[Call]) -> tuple[list[list[int]], int]:
    """Offset of every buffer that a call writes, and the size of all."""
    end, slots = GUARD, []
    for call in calls:
        slots.append([])
        for t in _types(call):
            slots[-1].append(end)
            end += -(-t.nbytes // 16) * 16 + GUARD
    return slots, end


def _read(memory: np.ndarray, slots: Sequence[int], call: Call) -> list[np.ndarray]:
    results = []
    for offset, t in zip(slots, _types(call), strict=True):
        end = offset + t.nbytes
        assert (memory[offset - GUARD : offset] == GARBAGE).all(), "a kernel wrote in front"
        assert (memory[end : end + GUARD] == GARBAGE).all(), "a kernel wrote behind"
        results.append(memory[offset:end].view(t.dtype).reshape(t.shape))
    return results[: len(call.results)]


def _link(core: str, calls: Sequence[Call], folder: Path) -> Path:
    blob, operands = bytearray(), []
    for call in calls:
        operands.append([])
        for i, array in enumerate(call.arrays):
            if i in call.form.packed:
                array = call.form.packed[i](array)
            blob.extend(bytes(-len(blob) % 16))
            operands[-1].append(len(blob))
            blob.extend(np.ascontiguousarray(array).tobytes())
    (folder / "operands.bin").write_bytes(bytes(blob) + bytes(16))
    (folder / "operands.S").write_text(
        '.section .rodata.operands,"a"\n.balign 64\n.global operands\noperands:\n'
        f'.incbin "{folder / "operands.bin"}"\n'
    )
    slots, size = _layout(calls)
    (folder / "main.c").write_text(_source(operands, slots, size))
    device, image = get_device(f"qemu:{core}"), folder / "image.elf"
    sources = [folder / "main.c", folder / "operands.S", folder / "kernels.o"]
    sources += [BOARDS / "startup.c", BOARDS / "semihosting.c"]
    find_bare_metal_compiler(get_target(core)).run(
        ["-O2", "-specs=nano.specs", "-specs=nosys.specs", "-nostartfiles"]
        + [f"-I{REMOTE / 'runner'}", f"-I{BOARDS}", f"-L{BOARDS}", f"-T{device.scripts[0]}"]
        + [*map(str, sources), "-lm", "-o", str(image)]
    )
    return image


def _source(operands: list[list[int]], slots: list[list[int]], size: int) -> str:
    lines = [
        '#include "markers.h"',
        '#include "semihosting.h"',
        "#include <string.h>",
        "extern const unsigned char operands[];",
        f"static unsigned char results[{size}] __attribute__((aligned(64)));",
    ]
    body = [f"  memset(results, {GARBAGE}, sizeof results);", "  MJ_MARK(MJ_MARK_BEGIN);"]
    for i, (ins, outs) in enumerate(zip(operands, slots, strict=True)):
        lines.append(f"int kernel{i}({', '.join(['const void *'] * (len(ins) + len(outs)))});")
        args = [f"operands + {o}" for o in ins] + [f"results + {o}" for o in outs]
        body += [
            "  MJ_MARK(MJ_MARK_TICK);",
            f"  failed |= kernel{i}({', '.join(args)});",
            "  MJ_MARK(MJ_MARK_TICK);",
        ]
    tail = [
        "  MJ_MARK(MJ_MARK_END);",
        '  const int file = mj_semi_open("results.bin", MJ_SEMI_WRITE);',
        "  failed |= mj_semi_write(file, results, sizeof results) != (long)sizeof results;",
        "  return mj_semi_close(file) | failed;",
    ]
    return "\n".join([*lines, "int main(void) {", "  int failed = 0;", *body, *tail, "}", ""])


def _emulate(core: str, image: Path, kernels: int, folder: Path) -> np.ndarray:
    device = get_device(f"qemu:{core}")
    emulator, counts = shutil.which(device.emulator), folder / "counts.bin"
    assert emulator, f"{device.emulator} is not installed"
    plugin = folder / "plugin.so"
    source = REMOTE / "plugin" / "mj_count.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
    counts.write_bytes(bytes(8 * (COUNTERS_HEAD + kernels)))
    options = f"counts={counts},kernels={kernels},begin={BEGIN:x},tick={TICK:x},end={END:x}"
    command = [emulator, "-M", device.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
    command += ["-plugin", f"{plugin},{options}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"the image returned {done.returncode}: {done.stderr[-500:]}"
    return np.fromfile(counts, np.uint64)[COUNTERS_HEAD:]
