"""Write golden.npz: features, weights, and the posteriors that Keras computes from them.

The weights are multiples of 1/256, so that the file stays small. Run it only when the network itself
changes: python -m tests.make.golden
"""

import numpy as np

from model.network import Weights, weight_shapes
from tests.support.paths import DATA
from training.learning.keras_network import build, restore

BINS = 6
COLUMNS = 15 + 4 * 299  # 300 steps


def main() -> None:
    rng = np.random.default_rng(2017)

    def draw(shape: tuple[int, ...], spread: float) -> np.ndarray:
        return (np.round(rng.normal(0, spread, shape) * 256) / 256).astype(np.float32)

    arrays = {name: draw(shape, 0.08) for name, shape in weight_shapes(BINS).items()}
    # enough for the posteriors to roam between 0 and 1
    arrays["dense_kernel"] *= 8
    features = draw((COLUMNS, BINS), 1.0)
    clip = build(BINS, columns=None).clip
    restore(clip, Weights(**arrays))
    posteriors = np.asarray(clip(features[None], training=False))[0, :, 0]
    path = DATA / "golden.npz"
    np.savez_compressed(path, features=features, posteriors=posteriors, **arrays)
    print(f"{path}: posteriors from {posteriors.min():.3f} to {posteriors.max():.3f}")


if __name__ == "__main__":
    main()
