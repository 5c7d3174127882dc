"""Which interval for LiDAR holds the value that it should: the jackknife or a bootstrap?

    python -m benchmarks.intervals [--trials=60]

The jackknife is that of `lidar(confidence=...)`. Embeddings are drawn anew in each trial, so the
mean over the trials is what an interval ought to hold. Printed: the standard deviation over trials,
each method's standard error, and how often its 95 % interval holds the mean. The bootstrap draws n
images with replacement 100 times, with S_w fixed as in the jackknife, and its standard deviation
makes the interval; percentiles of its draws would be worse, because their mean lies below the value
(last column).
"""

import argparse
import warnings

import numpy as np

from metrics import LidarState, lidar
from metrics.lda import whiten
from metrics.scatter import gram_eigenvalues

warnings.filterwarnings("ignore", message="lidar:")


def draw(rng: np.random.Generator, n: int, q: int, d: int) -> np.ndarray:
    """Decaying signal and noise [n, q, d]."""
    k = np.arange(1, d + 1)
    return rng.standard_normal((n, 1, d)) / k + 0.3 * rng.standard_normal((n, q, d)) * k**-0.25


def bootstrap(views: np.ndarray, rng: np.random.Generator, draws: int = 100) -> np.ndarray:
    """LiDAR without eps of `draws` samples of images with replacement."""
    n, q, _ = views.shape
    state = LidarState(keep_means=True)
    state.add(views)
    whitened, _ = whiten(state.between.rows(), state.within, n * (q - 1) * 1e-4)
    values = []
    for _ in range(draws):
        sample = whitened[rng.integers(n, size=n)]
        p = gram_eigenvalues(sample - sample.mean(axis=0)).clip(min=1e-300)
        p /= p.sum()
        values.append(np.exp(-p @ np.log(p)))
    return np.array(values)


def main() -> None:
    """Print one line per layout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=60)
    trials = parser.parse_args().trials
    names = "jackknife: error, holds  bootstrap: error, holds, shift"
    print(f"{'n, q, d':>14}{'mean':>8}{'sd':>7}  {names}")
    for n, q, d in ((200, 10, 64), (800, 10, 64), (40, 10, 64), (100, 5, 64), (300, 10, 256)):
        rng = np.random.default_rng(0)
        samples = [draw(rng, n, q, d) for _ in range(trials)]
        scores = [lidar(views, confidence=0.95) for views in samples]
        mean, spread = np.mean(scores), np.std(scores)
        errors = np.mean([score.settings["standard_error"] for score in scores])
        intervals = [score.settings["interval"] for score in scores]
        held = np.mean([low <= mean <= high for low, high in intervals])
        draws = np.array([bootstrap(views, rng) for views in samples])
        deviations = draws.std(axis=1)
        boot_held = np.mean(np.abs(np.array(scores) - mean) <= 1.96 * deviations)
        shift = np.mean(draws.mean(axis=1) - np.array(scores))
        print(
            f"{f'{n}, {q}, {d}':>14}{mean:8.2f}{spread:7.2f}{errors:18.2f}{held:7.0%}"
            f"{deviations.mean():18.2f}{boot_held:7.0%}{shift:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
