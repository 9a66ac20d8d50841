"""A Chrome/Perfetto trace of one run: open it in ui.perfetto.dev or chrome://tracing.

Kernels run one after the other, and the runtime gives the duration of each, so they are laid end to
end; the entry function's own time between them is the rest of the enclosing event.
"""

from __future__ import annotations

from typing import Any

from ..errors import UsageError

PROCESS, THREAD = 1, 1


def chrome_trace(profile: dict[str, Any]) -> dict[str, Any]:
    """The trace of ``profile["run"]``; times in µs as the format demands.

    Raises:
        UsageError: The profile was taken without layers.
    """
    if profile.get("instructions"):
        raise UsageError("[trace] an emulated device gives no times; profile on real hardware")
    if profile["run"] is None:
        raise UsageError("[trace] the profile was taken without layers; profile again with layers")
    run = profile["run"]
    kernels = profile["layers"]["kernels"]
    model = profile["bundle"]["model"]["name"]
    events = [
        _name("process_name", f"{model} on {profile['conditions']['cpu_model']}"),
        _name("thread_name", "kernels"),
        _event(profile["unit"], "call", 0, run["wall_ns"], {"call": run["call"]}),
    ]
    begin = 0
    for kernel, duration in zip(kernels, run["kernel_ns"], strict=True):
        label = f"{kernel['layer']} · {kernel['op']}"
        events.append(_event(label, kernel["op"], begin, duration, {"kernel": kernel["name"]}))
        begin += duration
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"source": "one measured run; kernels laid end to end"},
    }


def _name(kind: str, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": PROCESS, "tid": THREAD, "name": kind, "args": {"name": name}}


def _event(
    name: str, category: str, begin_ns: int, duration_ns: int, args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": PROCESS,
        "tid": THREAD,
        "name": name,
        "cat": category,
        "ts": begin_ns / 1e3,
        "dur": duration_ns / 1e3,
        "args": args,
    }
