"""Settings in, a TensorFlow that computes with so many threads and repeatably out; imported only when needed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any


def tensorflow(threads: int, seed: int) -> Any:
    """TensorFlow, quiet about its build, with every random generator seeded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    with suppress(RuntimeError):  # TensorFlow runs already and keeps the threads that it has
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)
    return tf
