"""The seeded data of the tables that several metrics are tested against."""

import numpy as np


def seeded_views(d: int, n: int = 200, q: int = 8) -> np.ndarray:
    """Anisotropic signal and noise, mixed by one matrix: [n, q, d]."""
    rng, k = np.random.default_rng(0), np.arange(1, d + 1)
    signal = rng.standard_normal((n, d)) * k**-0.5
    mixing = rng.standard_normal((d, d)) / np.sqrt(d)
    noise = rng.standard_normal((n, q, d)) * k**-0.25
    return (signal[:, None] + 0.5 * noise) @ mixing
