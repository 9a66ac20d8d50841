"""What is fed, in which order, with which resets."""

from __future__ import annotations

import numpy as np
import pytest

import millijoule as mj
from millijoule.profiling.workload import Workload


def test_rows_become_batches_and_the_last_one_is_filled_up(plain: mj.Session) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    workload = Workload(plain.manifest, plain.program, {"x": x})
    assert len(workload.calls) == 2
    np.testing.assert_array_equal(workload.calls[1].inputs[0], x[[2, 0]])
    assert all(array.ctypes.data % 64 == 0 for call in workload.calls for array in call.inputs)


def test_streams_go_frame_by_frame_and_reset_between_sequences(streaming: mj.Session) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    workload = Workload(streaming.manifest, streaming.program, {"x": x})
    assert [call.starts for call in workload.calls] == [True, False, False] * 2
    frame, valid = workload.calls[4].inputs
    np.testing.assert_array_equal(frame, x[1, 1][None])
    np.testing.assert_array_equal(valid, [1])


def test_a_pass_gives_the_same_outputs_as_a_stream(streaming: mj.Session) -> None:
    x = np.ones((1, 5, 4), np.float32)
    workload = Workload(streaming.manifest, streaming.program, {"x": x})
    with streaming.stream() as stream:
        expected = [stream.step({"x": x[:, i]}) for i in range(5)]
    for _ in range(2):  # a second pass must start over
        for call in workload.calls:
            workload.prepare(call)
            workload.run(call)
        assert expected[-1] is not None
        np.testing.assert_array_equal(workload.outputs[0], expected[-1]["logits"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.ones((2, 4), np.float32), "z": np.ones(1)}, "unknown input 'z'"),
        ({"x": np.ones((2, 5), np.float32)}, r"must have shape \[any, 4\]"),
        ({"x": np.full((2, 4), np.nan, np.float32)}, "must be finite"),
    ],
)
def test_bad_inputs(plain: mj.Session, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(mj.UsageError, match=message):
        Workload(plain.manifest, plain.program, arrays)


def test_a_stream_takes_sequences(streaming: mj.Session) -> None:
    with pytest.raises(mj.UsageError, match=r"must have shape \[any, any, 4\]"):
        Workload(streaming.manifest, streaming.program, {"x": np.ones((1, 4), np.float32)})
