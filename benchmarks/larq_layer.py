"""Larq Compute Engine's binary 1×1 convolution, the layer of ours that it has a kernel for.

It needs an environment of its own, because it wants an older TensorFlow and NumPy:

    python3.11 -m venv LARQ
    LARQ/bin/pip install larq-compute-engine==0.16.0 larq==0.14.0 tensorflow-cpu==2.15.1 'numpy<2'
    LARQ/bin/python benchmarks/larq_layer.py [--channels 768] [--outputs 768] [--rounds 30]

128 pixels stand for 128 tokens, so that the convolution is the binary linear layer of BERT-base.
Time is CPU time of the process, one thread, and that of one layer: a net of two layers less a net
of one, so that input, output and the interpreter do not count. Its hand-written kernels are for
ARM; here it runs its portable ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

HEIGHT, WIDTH = 16, 8


def network(layers: int, channels: int, outputs: int) -> Any:
    """``layers`` binary 1×1 convolutions, the last one to ``outputs`` channels."""
    import larq
    import tensorflow as tf

    x = first = tf.keras.Input((HEIGHT, WIDTH, channels))
    for index in range(layers):
        x = larq.layers.QuantConv2D(
            outputs if index == layers - 1 else channels,
            1,
            use_bias=False,
            input_quantizer="ste_sign",
            kernel_quantizer="ste_sign",
            kernel_constraint="weight_clip",
        )(x)
    return tf.keras.Model(first, x)


def microseconds(model: Any, channels: int, rounds: int) -> list[float]:
    """CPU time of every round."""
    import larq_compute_engine as lce
    import numpy as np
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreter = Interpreter(lce.convert_keras_model(model), num_threads=1)
    shape = (1, HEIGHT, WIDTH, channels)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    times = []
    for _ in range(rounds):
        start = time.process_time_ns()
        interpreter.predict(x)
        times.append((time.process_time_ns() - start) / 1e3)
    return times


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--outputs", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    one = microseconds(network(1, given.channels, given.outputs), given.channels, given.rounds)
    two = microseconds(network(2, given.channels, given.outputs), given.channels, given.rounds)
    result = {
        "layer": f"{HEIGHT * WIDTH}x{given.channels}x{given.outputs}",
        "one_layer_us": {
            "median": statistics.median(two) - statistics.median(one),
            "min": min(two) - min(one),
        },
        "nets_us": {"one": one, "two": two},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
