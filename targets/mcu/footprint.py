"""How much flash and RAM a model takes: measured from a linked image, never guessed.

The image holds what any firmware with this model holds: the library with its hooks, the parts of
libc that it calls, weights, arena, context, input and output buffers. A linker script keeps these
apart. Start-up code, stack and the application itself come on top.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from millijoule.bundle import FlashUse, RamUse, TensorSpec
from millijoule.errors import DeviceError
from millijoule.targets.compilers import Toolchain
from millijoule.targets.mcu.cores import tool
from millijoule.targets.toolchain import runtime_include

_SCRIPT = """\
SECTIONS {
  .probe : { KEEP(*(.probe)) }
  .weights : { *(.rodata.mj_weights*) }
  .code : { *(.text .text.* .init .fini) }
  .rodata : { *(.rodata .rodata.*) }
  .data : { *(.data .data.* .got .got.*) }
  .arena (NOLOAD) : { *(.bss.mj_arena) }
  .context (NOLOAD) : { *(.bss.mj_context) }
  .io (NOLOAD) : { *(.bss.mj_io) }
  .bss (NOLOAD) : { *(.bss .bss.* COMMON) }
  end = .;
  /DISCARD/ : { *(.ARM.exidx* .ARM.extab* .note* .comment .debug*) }
}
"""

_PROBE = """\
#include "model.h"
#define IN(name) __attribute__((section(name), aligned(MJ_ALIGNMENT)))
#if MJ_MODEL_ARENA_BYTES
static uint8_t arena[MJ_MODEL_ARENA_BYTES] IN(".bss.mj_arena");
#else
#define arena NULL
#endif
static mj_context context __attribute__((section(".bss.mj_context")));
%(buffers)s
__attribute__((section(".probe"))) int probe(void) {
  static const void *const inputs[] __attribute__((section(".probe_data"))) = {%(inputs)s};
  static void *const outputs[] __attribute__((section(".probe_data"))) = {%(outputs)s};
  mj_init(&context, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena,
          MJ_MODEL_ARENA_BYTES);
  return (int)mj_run(&context, inputs, outputs);
}
"""


def measure(
    folder: Path,
    library: Path,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    cc: Toolchain,
) -> tuple[FlashUse, RamUse]:
    """Link ``library`` with the ``model.h``, ``weights.S`` and ``weights.bin`` in ``folder``.

    Raises:
        DeviceError: the linker failed, e.g. because a kernel calls what bare metal lacks.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        (scratch / "probe.c").write_text(_probe(inputs, outputs))
        (scratch / "probe.ld").write_text(_SCRIPT)
        image = scratch / "probe.elf"
        cc.run(
            [
                *("-Os", "-nostartfiles", "-specs=nano.specs", f"-I{runtime_include()}"),
                *(f"-I{folder}", str(scratch / "probe.c"), str(folder / "weights.S")),
                *(str(library), "-lm", f"-Wl,-T,{scratch / 'probe.ld'}", "-Wl,-e,probe"),
                *("-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-o", str(image)),
            ]
        )
        sizes = _sections(image, cc)
    flash = FlashUse(
        code=sizes[".code"], rodata=sizes[".rodata"] + sizes[".data"], weights=sizes[".weights"]
    )
    ram = RamUse(
        arena=sizes[".arena"],
        context=sizes[".context"],
        io=sizes[".io"],
        bss=sizes[".data"] + sizes[".bss"],
    )
    return flash, ram


def _probe(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> str:
    sizes = {f"in{i}": t.nbytes for i, t in enumerate(inputs)}
    sizes |= {f"out{i}": t.nbytes for i, t in enumerate(outputs)}
    buffers = [f'static uint8_t {n}[{size}] IN(".bss.mj_io");' for n, size in sizes.items()]
    names = {kind: [n for n in sizes if n.startswith(kind)] for kind in ("in", "out")}
    return _PROBE % {
        "buffers": "\n".join(buffers),
        "inputs": ", ".join(names["in"]) or "0",
        "outputs": ", ".join(names["out"]) or "0",
    }


def _sections(image: Path, cc: Toolchain) -> dict[str, int]:
    """Bytes of every section of an ELF file by name, zero for those it lacks."""
    found = dict.fromkeys(
        (".code", ".rodata", ".data", ".weights", ".arena", ".context", ".io", ".bss"), 0
    )
    for line in tool(cc, "size").run(["-A", "-d", str(image)]).splitlines():
        name, *figures = line.split() or [""]
        if name.startswith(".") and figures and figures[0].isdigit():
            found[name] = int(figures[0])
    if not found[".code"]:
        raise DeviceError(f"[firmware] '{cc}' linked an image without code; {cc.remedy}")
    return found
