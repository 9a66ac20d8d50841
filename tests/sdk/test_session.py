"""Sessions and streams on the tiny model: results, checks, chunks, taps, states, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import millijoule as mj
from fixtures.tiny_model.build import DELAY, reference, scale


@pytest.fixture
def plain(tiny_path: Path) -> Iterator[mj.Session]:
    """A session of the model with a batch of 2."""
    with mj.load(tiny_path) as session:
        yield session


@pytest.fixture
def streaming(tiny_streaming_path: Path) -> Iterator[mj.Session]:
    """A session of the streaming model."""
    with mj.load(tiny_streaming_path) as session:
        yield session


def frames(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    """Sequences [rows, steps, 4]."""
    return np.random.default_rng(seed).standard_normal((rows, steps, 4)).astype(np.float32)


def test_specs(plain: mj.Session, streaming: mj.Session) -> None:
    assert [(s.name, s.shape, s.dtype) for s in plain.inputs] == [("x", (2, 4), "float32")]
    assert [(s.name, s.shape, s.dtype) for s in plain.outputs] == [("y", (2, 1), "float32")]
    assert plain.states == ()
    assert plain.taps == ("spikes:scale",)
    assert [s.name for s in streaming.states] == ["total", "line"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_rows_run_in_turn(plain: mj.Session, rows: int) -> None:
    x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
    result = plain.run({"x": x}, taps=["spikes:scale"])
    np.testing.assert_allclose(result["y"], reference(x)["y"], rtol=1e-6)
    np.testing.assert_array_equal(result["spikes:scale"], scale(x))
    assert list(result) == ["y", "spikes:scale"]


def test_results_are_the_callers_own(plain: mj.Session) -> None:
    first = plain.run({"x": np.ones((2, 4), np.float32)})["y"]
    kept = first.copy()
    plain.run({"x": np.zeros((2, 4), np.float32)})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "value",
    [
        np.ones((2, 4)),
        np.ones((2, 4), np.float16),
        np.ones((4, 2), np.float32).T,
        np.ones((2, 8), np.float32)[:, ::2],
        np.ones((2, 4), ">f4"),
        [[1.0] * 4] * 2,
        np.frombuffer(b"\0" + np.ones(8, "<f4").tobytes(), "<f4", 8, 1).reshape(2, 4),
    ],
)
def test_accepted_arrays(plain: mj.Session, value: Any) -> None:
    np.testing.assert_array_equal(plain.run({"x": value})["y"], [[2], [2]])


BAD_INPUTS: list[tuple[Any, str]] = [
    ({}, "'x' is missing"),
    ({"y": np.ones((2, 4))}, "unknown input 'y'; inputs: x"),
    ({"x": np.ones((2, 4)), "z": 1}, "unknown input 'z'"),
    ([1], "dict of arrays by name"),
    ({"x": np.ones(4)}, r"shape \[any, 4\], but received \[4\]"),
    ({"x": np.ones((2, 5))}, r"received \[2, 5\]"),
    ({"x": np.ones((0, 4))}, r"received \[0, 4\]"),
    ({"x": np.ones((2, 4), np.int32)}, r"float32, but received int32.*astype"),
    ({"x": np.ones((2, 4), complex)}, "received complex128"),
    ({"x": np.full((2, 4), "a")}, "received <U1"),
    ({"x": np.full((2, 4), None)}, "received object"),
    ({"x": [[1.0], [1.0, 2.0]]}, "must be an array"),
    ({"x": np.array([[0, 0, 0, 0], [0, np.nan, 0, np.inf]])}, r"nan at index \[1, 1\]"),
    ({"x": np.full((2, 4), 1e300)}, r"inf at index \[0, 0\]"),
]


@pytest.mark.parametrize(("inputs", "message"), BAD_INPUTS)
def test_bad_inputs_are_refused(plain: mj.Session, inputs: Any, message: str) -> None:
    with pytest.raises(mj.UsageError, match=message) as caught:
        plain.run(inputs)
    assert "\n" not in str(caught.value)


def test_unknown_tap_and_bad_threads(plain: mj.Session, tiny_path: Path) -> None:
    with pytest.raises(mj.UsageError, match=r"unknown tap 'no'; taps: spikes:scale"):
        plain.run({"x": np.ones((2, 4))}, taps=["no"])
    for threads in (0, -1, 10**6):
        with pytest.raises(mj.UsageError, match="threads"):
            mj.load(tiny_path, threads=threads)


def test_threads_change_nothing(tiny_path: Path) -> None:
    x = np.random.default_rng(5).standard_normal((2, 4)).astype(np.float32)
    for threads in (1, 2, 3):
        with mj.load(tiny_path, threads=threads) as session:
            np.testing.assert_array_equal(
                session.run({"x": x})["y"], reference(x)["y"].astype(np.float32)
            )


def test_closed_session_says_so(tiny_path: Path) -> None:
    session = mj.load(tiny_path)
    session.close()
    session.close()
    with pytest.raises(mj.UsageError, match="closed"):
        session.run({"x": np.ones((2, 4))})


def test_stream_outlives_its_session(tiny_streaming_path: Path) -> None:
    session = mj.load(tiny_streaming_path)
    with session.stream() as stream:
        session.close()
        x = frames(1, 1)
        stream.step({"x": x[:, 0]})
        np.testing.assert_array_equal(stream.flush()[0]["logits"], scale(x[:, 0]))
    with pytest.raises(mj.UsageError, match="closed"):
        session.stream()


def test_plain_bundle_does_not_stream(plain: mj.Session) -> None:
    with pytest.raises(mj.UsageError, match="--streaming"):
        plain.stream()


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (1, DELAY), (1, 6), (3, 5)])
def test_sequences(streaming: mj.Session, rows: int, steps: int) -> None:
    x = frames(rows, steps)
    result = streaming.run({"x": x}, taps=["spikes:scale"])
    expected = reference(x, "streaming")
    np.testing.assert_allclose(result["logits"], expected["logits"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        result["all_seq_logits"], expected["all_seq_logits"], rtol=1e-5, atol=1e-6
    )
    tap = result["spikes:scale"]
    assert tap.shape == (steps + DELAY, rows, 4)
    np.testing.assert_array_equal(tap[:steps], scale(x).transpose(1, 0, 2))


@given(steps=st.integers(0, 7), seed=st.integers(0, 99))
def test_steps_equal_the_whole_sequence(
    tiny_streaming_session: mj.Session, steps: int, seed: int
) -> None:
    session, x = tiny_streaming_session, frames(1, max(steps, 1), seed)
    with session.stream() as stream:
        outputs = [stream.step({"x": x[:, t]}) for t in range(steps)]
        assert [y is None for y in outputs] == [t < DELAY for t in range(steps)]
        answers = [y for y in outputs if y is not None] + stream.flush()
        assert len(answers) == steps
        whole = session.run({"x": x})["all_seq_logits"]
        for answer, expected in zip(answers, whole, strict=False):
            np.testing.assert_array_equal(answer["logits"], expected)


def test_streams_are_independent_and_reset(streaming: mj.Session) -> None:
    x = frames(1, 8)
    with streaming.stream() as a, streaming.stream() as b:
        for t in range(4):
            a.step({"x": x[:, t]})
        b.step({"x": x[:, 7]})
        streaming.run({"x": x})
        last = a.flush()[-1]["logits"]
        np.testing.assert_allclose(last, reference(x[:, :4], "streaming")["logits"], rtol=1e-5)
        with pytest.raises(mj.UsageError, match="reset"):
            a.step({"x": x[:, 0]})
        with pytest.raises(mj.UsageError, match="flushed already"):
            a.flush()
        a.reset()
        assert a.steps == 0
        assert a.step({"x": x[:, 5]}) is None
        np.testing.assert_array_equal(a.flush()[-1]["logits"], scale(x[:, 5]))


def test_bad_frames(streaming: mj.Session) -> None:
    with streaming.stream() as stream:
        with pytest.raises(mj.UsageError, match=r"shape \[1, 4\]"):
            stream.step({"x": np.ones(4)})
        with pytest.raises(mj.UsageError, match="unknown input 'valid'"):
            stream.step({"x": np.ones((1, 4)), "valid": 1})
        with pytest.raises(mj.UsageError, match="nan"):
            stream.step({"x": np.full((1, 4), np.nan)})
        with pytest.raises(mj.UsageError, match="must be float32"):
            stream.step({"x": None})
        assert stream.steps == 0
    with pytest.raises(mj.UsageError, match="closed"):
        stream.step({"x": np.ones((1, 4))})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_frames_that_are_not_finite_change_nothing(streaming: mj.Session, bad: float) -> None:
    x = np.random.default_rng(2).standard_normal((1, 6, 4)).astype(np.float32)
    with streaming.stream() as stream, streaming.stream() as other:
        for step in range(6):
            for where in range(4):  # of the exact dtype, which only the program looks at
                frame = x[:, step].copy()
                frame[0, where] = bad
                with pytest.raises(mj.UsageError, match=rf"(nan|inf) at index \[0, {where}\]"):
                    stream.step({"x": frame})
            assert stream.steps == step
            got, expected = (s.step({"x": x[:, step]}) for s in (stream, other))
            assert (got is None) == (expected is None)
            if got is not None and expected is not None:
                np.testing.assert_array_equal(got["logits"], expected["logits"])


def test_threads_share_a_session(plain: mj.Session) -> None:
    rows = np.random.default_rng(1).standard_normal((8, 2, 4)).astype(np.float32)
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            if not np.array_equal(plain.run({"x": rows[index]})["y"], expected[index]):
                wrong.append(index)

    expected = [plain.run({"x": x})["y"] for x in rows]
    workers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
