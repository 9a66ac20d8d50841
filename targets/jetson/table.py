"""A `Plan` and the launches of its kernels → the C tables that the launcher on the device reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from millijoule.targets.cpu.codegen import Memory, Signature, descriptor, file_head, quoted
from millijoule.targets.cpu.plan import Plan, Ref, align
from millijoule.targets.jetson.cuda import Launches
from millijoule.targets.jetson.join import Bound

_SPACES = {
    "arena": "MJ_AT_ARENA",
    "weights": "MJ_AT_WEIGHTS",
    "input": "MJ_AT_INPUT",
    "output": "MJ_AT_OUTPUT",
}
IMAGES = "mj_cuda_images"
Place = tuple[str, int]  # space; offset, or number of the input or output


def scratch_bytes(functions: Mapping[str, Launches], alignment: int) -> int:
    """Workspace of the hungriest kernel: scratch between the launches of one function."""
    sizes = (sum(align(s, alignment) for s in f.scratch) for f in functions.values())
    return max(sizes, default=0)


def generate_table(
    name: str,
    plan: Plan,
    functions: Mapping[str, Launches],
    signature: Signature,
    memory: Memory,
    delay: int,
    images: int,
    regions: Sequence[Bound | None] = (),
) -> str:
    """C source of the model ``name``: launches, arguments, and the descriptor that holds them.

    ``functions``: launches by symbol of a kernel. The machine code for ``images`` GPUs is another
    file's (`images_source`). ``regions``: those of a split, None for refused ones.
    """
    symbols = sorted({c.kernel for f in functions.values() for c in f.calls})
    numbers = {symbol: i for i, symbol in enumerate(symbols)}
    launches: list[str] = []
    places: list[Place] = []
    calls: list[str] = []
    writes: list[str] = []
    for call in plan.calls:
        made = functions[call.symbol]
        written = [r for r in call.outputs if r.space == "arena"]
        calls.append(
            f"  {{{len(launches)}u, {len(made.calls)}u, {len(writes)}u, {len(written)}u}},"
        )
        writes += [f"  {{{ref.offset}u, {ref.type.nbytes}u}}," for ref in written]
        tensors = [_place(ref) for ref in call.args if isinstance(ref, Ref)]
        every = [*tensors, *_scratch(made, memory)]
        for launch in made.calls:
            sizes = f"{{{_listed(launch.grid)}}}, {{{_listed(launch.block)}}}, {launch.shared}u"
            span = f"{len(places)}u, {len(launch.arguments)}u"
            launches.append(f"  {{{numbers[launch.kernel]}u, {sizes}, {span}}},")
            places += [every[i] for i in launch.arguments]
    bound = [_region(region, places) for region in regions]
    copies = []
    for output, source in plan.copies:
        at = _place(source)
        copies.append(f"  {{{output}u, {_placed(at)}, {source.type.nbytes}u}},")
        places += [("output", output), at]
    arguments = [f"  {_placed(p)}," for p in places]
    tables = {
        "mj_cuda_launch launches": launches,
        "mj_cuda_place arguments": arguments,
        "mj_cuda_call calls": calls,
        "mj_cuda_write writes": writes,
        "mj_cuda_copy copies": copies,
        "mj_cuda_region regions": bound,
    }
    lines = [
        *file_head(memory, ["mj_cuda.h"]),
        f"extern const mj_cuda_image {IMAGES}[{images}];",
        "",
        *_array("char *const symbols", [f"  {quoted(s)}," for s in symbols]),
        *(line for head, rows in tables.items() for line in _array(head, rows)),
        *_program(images, [len(r) for r in (symbols, launches, places, calls, copies, bound)]),
        *descriptor(name, plan, signature, memory, delay, _DEVICE),
    ]
    return "\n".join(lines) + "\n"


_DEVICE = {"entry": "mj_cuda_run", "device": "&mj_cuda_ops", "device_program": "&program"}


def _region(region: Bound | None, places: list[Place]) -> str:
    """The row of one region, whose tensors go behind ``places``."""
    if region is None:
        return "  {0u, 0u, 0u, 0u},"
    first = len(places)
    places += map(_place, (*region.inputs, *region.outputs))
    return f"  {{{region.first_call}u, {region.n_calls}u, {first}u, {len(region.inputs)}u}},"


def _program(images: int, rows: Sequence[int]) -> list[str]:
    """The launcher's view of the tables, which have so many rows."""
    symbols, launches, arguments, calls, copies, regions = rows
    fields = {
        "images": IMAGES,
        "n_images": f"{images}u",
        "n_symbols": f"{symbols}u",
        "n_launches": f"{launches}u",
        "n_arguments": f"{arguments}u",
        "n_calls": f"{calls}u",
        "n_copies": f"{copies}u",
        "n_regions": f"{regions}u",
        "symbols": "symbols",
        "launches": "launches",
        "arguments": "arguments",
        "calls": "calls",
        "writes": "writes",
        "copies": "copies",
        "regions": "regions",
    }
    body = [f"  .{field} = {value}," for field, value in fields.items()]
    return ["static const mj_cuda_program program = {", *body, "};", ""]


def _place(ref: Ref) -> Place:
    return ref.space, ref.offset


def _placed(place: Place) -> str:
    return f"{{{_SPACES[place[0]]}, {place[1]}u}}"


def _scratch(made: Launches, memory: Memory) -> Iterable[Place]:
    """Where the scratch buffers of a function lie: behind each other in the workspace."""
    offset = memory.workspace_offset
    for size in made.scratch:
        yield "arena", offset
        offset += align(size, memory.alignment)


def _array(head: str, rows: Sequence[str]) -> list[str]:
    """A constant array; C has none without elements, so an empty one holds a zero."""
    name = head.rpartition(" ")[2]
    kind = head.removesuffix(f" {name}")
    return [f"static const {kind} {name}[] = {{", *(rows or ["  {0},"]), "};", ""]


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(f"{s}u" for s in sizes)


def images_source(files: Mapping[int, str]) -> str:
    """C source of the array of machine code; ``files``: compute capability × 10 → file of a cubin.

    The assembler finds files as the compiler finds headers.
    """
    lines = ["/* Generated by Millijoule; do not edit. */", '#include "mj_cuda.h"', ""]
    rows = []
    for sm, name in sorted(files.items()):
        symbol = f"mj_code_{sm}"
        parts = [
            ".pushsection .rodata",
            ".balign 64",
            f".hidden {symbol}",
            f".globl {symbol}",
            f"{symbol}:",
            f'.incbin \\"{name}\\"',
            ".popsection",
        ]
        lines.append('__asm__("' + "\\n".join(parts) + '");')
        lines.append(f"extern const char {symbol}[];")
        rows.append(f"  {{{sm}, {symbol}}},")
    return "\n".join([*lines, f"const mj_cuda_image {IMAGES}[] = {{", *rows, "};"]) + "\n"
