"""Building the runner around a bundle's program, and the command that starts it in the emulator."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..bundle import Bundle, Manifest
from ..errors import DeviceError
from .cache import cached
from .devices import Device

__all__ = ["prepare"]

_FOLDER = Path(__file__).parent / "runner"
_RUNTIME = Path(__file__).parents[1] / "runtime"
_BOARDS = _RUNTIME / "boards"
_WARNINGS = ("-std=c11", "-O2", "-Wall")
_CHUNK = 64  # alignment of every buffer of the runner
_STACK = 64 << 10  # bytes of stack on a board: ample, so that the peak shows rather than a fault


def prepare(bundle: Bundle, device: Device, folder: Path) -> list[str]:
    """Put the program of ``bundle`` and its runner into ``folder``, ready to start.

    Returns:
        The end of the emulator's command line. Its working directory is ``folder``, because QEMU's
        options cannot hold a path with a comma.

    Raises:
        DeviceError: a compiler is missing or failed, or the model does not fit the board.
    """
    if device.machine:
        return _bare_metal(bundle, device, folder)
    return _linux(bundle, device, folder)


def _linux(bundle: Bundle, device: Device, folder: Path) -> list[str]:
    from ..targets import toolchain
    from ..targets.target import get_target

    manifest = bundle.manifest
    target = get_target(manifest.target.name)
    (folder / "libmodel.so").write_bytes(bundle.read(manifest.program.library))
    (folder / "weights.bin").write_bytes(bundle.read(manifest.program.weights))
    cc = toolchain.find_compiler(target)
    sources = [_FOLDER / name for name in ("runner.c", "linux.c")]
    headers = [_FOLDER / "port.h", _FOLDER / "markers.h", _RUNTIME / "include" / "millijoule.h"]

    def make(out: Path) -> None:
        # The C API is all that the runner knows of the library, so it serves every other as well
        # whose sizes are as fixed or as free.
        include = ["-I", str(_RUNTIME / "include")]
        link = ["-L", str(folder), "-lmodel", "-o", str(out)]
        cc.run([*_WARNINGS, *sizes, *include, *map(str, sources), *link])

    sizes = [f"-DMJ_RUNNER_SIZES={int(bool(manifest.dims))}"]
    conditions = f"{toolchain.version(cc)} {cc} {sizes[0]}"
    shutil.copy(cached("runner", [*sources, *headers], conditions, make), folder / "runner")
    environment = "LD_LIBRARY_PATH=.,LD_BIND_NOW=1"  # no symbol look-ups while counting
    if manifest.cuda is not None:
        from ..executors.cuda.compile import emulated_driver

        driver = emulated_driver(bundle, folder, [*cc.command, *cc.flags], dict(cc.environment))
        environment += f",MJ_LIBCUDA=./{driver.name}"
    return ["-L", device.sysroot, "-E", environment, "./runner"]


def _bare_metal(bundle: Bundle, device: Device, folder: Path) -> list[str]:
    image = folder / "runner.elf"
    for script in device.scripts:
        try:
            _link_bare_metal(bundle, script, folder, image)
            break
        except DeviceError as error:
            if "overflowed" not in str(error) and "will not fit" not in str(error):
                raise
            reason = str(error)
    else:
        raise DeviceError(f"[device] the model does not fit {device.machine}: {reason}")
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    quiet = ["-nographic", "-monitor", "none", "-serial", "none"]
    return ["-M", device.machine, *quiet, *semihosting, "-kernel", image.name]


def _link_bare_metal(bundle: Bundle, script: str, folder: Path, image: Path) -> None:
    """Link runner, start-up code, model and weights with a board's linker script."""
    from ..targets.mcu.cores import find_bare_metal_compiler
    from ..targets.target import get_target

    manifest = bundle.manifest
    cc = find_bare_metal_compiler(get_target(manifest.target.name))
    members = _extract(bundle, folder)
    sources = [
        *(_FOLDER / name for name in ("runner.c", "bare.c")),
        *(_BOARDS / name for name in ("startup.c", "semihosting.c")),
        *(path for path in members if path.suffix in (".c", ".S")),
    ]
    place = _FOLDER if (_FOLDER / script).exists() else _BOARDS
    cc.run(
        [
            *_WARNINGS,
            *("-nostartfiles", "-specs=nano.specs", "-Wl,--gc-sections"),
            *("-Wl,--no-warn-rwx-segments", f"-Wl,--defsym=MJ_STACK_BYTES={_STACK}"),
            *(f"-I{path}" for path in (folder, _RUNTIME / "include", _BOARDS)),
            *("-L", str(_BOARDS), "-T", str(place / script)),
            f"-DMJ_RUNNER_MEMORY={_memory(manifest)}",
            *map(str, sources),
            *(str(path) for path in members if path.suffix == ".a"),
            *("-lm", "-o", str(image)),
        ]
    )


def _extract(bundle: Bundle, folder: Path) -> list[Path]:
    """Write the members under ``program/`` into ``folder``, without their folders."""
    paths = []
    for name in bundle.names():
        if name.startswith("program/"):
            path = folder / Path(name).name
            path.write_bytes(bundle.read(name))
            paths.append(path)
    return paths


def _memory(manifest: Manifest) -> int:
    """Bytes of the arena and of one buffer per input and output, each rounded up."""
    sizes = [spec.nbytes for spec in (*manifest.inputs, *manifest.outputs)]
    return sum(max(-(-size // _CHUNK) * _CHUNK, _CHUNK) for size in (*sizes, manifest.arena.bytes))
