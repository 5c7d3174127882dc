"""All metrics of one set of embeddings, by name, from one spectrum."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from metrics.alpha_req import alpha_req
from metrics.arrays import Array, load
from metrics.directions import alignment, feature_std, mean_cosine, self_clustering, uniformity
from metrics.lidar import debiased_lidar, lidar
from metrics.lidar_state import LidarState
from metrics.neighbours import Clid, clid, idest, intrinsic_dimension
from metrics.rankme import augmented_rankme, rankme
from metrics.score import Score
from metrics.spectrum import SpectrumState, effective_rank, nesum, participation_ratio, stable_rank

LDA: dict[str, Callable[..., Any]] = {"lidar": lidar, "debiased_lidar": debiased_lidar}
VIEWS: dict[str, Callable[..., Any]] = LDA | {
    "augmented_rankme": augmented_rankme,
    "alignment": alignment,
}
SPECTRUM: dict[str, Callable[..., Any]] = {
    "rankme": rankme,
    "effective_rank": effective_rank,
    "alpha_req": alpha_req,
    "nesum": nesum,
    "stable_rank": stable_rank,
    "participation_ratio": participation_ratio,
}
ROWS: dict[str, Callable[..., Any]] = {
    "feature_std": feature_std,
    "mean_cosine": mean_cosine,
    "self_clustering": self_clustering,
}
# These compare every row with every other one.
PAIRS: dict[str, Callable[..., Any]] = {
    "uniformity": uniformity,
    "intrinsic_dimension": intrinsic_dimension,
    "clid": clid,
    "idest": idest,
}
METRICS = VIEWS | SPECTRUM | ROWS | PAIRS


def label_free(
    embeddings: ArrayLike,
    metrics: Iterable[str] | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    points: int = 4096,
    seed: int = 0,
    skip_undefined: bool | None = None,
) -> dict[str, Score]:
    """Return the metrics of embeddings [n, d], or of views [n, q, d], by name.

    Of views, the metrics in VIEWS read all, every other metric the first view of each image. Those
    that compare all pairs read at most `points` rows, drawn with `seed`; each score says its n.
    clid gives two entries. `options` are passed on: `{"lidar": {"delta": 1e-6}}`. Without `metrics`
    all that the layout allows are computed. Then, and with `skip_undefined=True`, a metric that is
    not defined for these embeddings is left out with a warning.

    Raises ValueError for an unknown metric or option, for a metric that needs views when there are
    none, and whatever a metric that was asked for raises.
    """
    given = embeddings if hasattr(embeddings, "ndim") else np.asarray(embeddings)
    array = load(given, "[n, q, d]" if given.ndim == 3 else "[n, d]", "label_free")
    asked = tuple(METRICS if metrics is None else metrics)
    options = options or {}
    _check(asked, options, array.ndim == 3 or metrics is None)
    plain = array[:, 0] if array.ndim == 3 else array
    state: SpectrumState | None = None
    scatter: LidarState | None = None
    found: dict[str, Score] = {}
    for name in asked:
        if name in VIEWS and array.ndim == 2:
            continue
        if name in SPECTRUM and state is None:
            state = SpectrumState.of(plain, "label_free")
        subject: Any = array if name in VIEWS else state if name in SPECTRUM else plain
        if name in PAIRS:
            subject = _draw(plain, points, seed)
        try:
            if name in LDA:
                subject = scatter = scatter or LidarState.of(
                    array, keep_means="confidence" in options.get("lidar", {})
                )
            score = METRICS[name](subject, **options.get(name, {}))
        except ValueError as error:
            if not (metrics is None if skip_undefined is None else skip_undefined):
                raise
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        found |= dict(
            zip(entries(name), [score] if isinstance(score, Score) else score, strict=True)
        )
    return found


def entries(metric: str) -> tuple[str, ...]:
    """The names that a metric has in the result of `label_free`."""
    return tuple(f"clid/{part}" for part in Clid._fields) if metric == "clid" else (metric,)


def _draw(rows: Array, count: int, seed: int) -> Array:
    if len(rows) <= count:
        return rows
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]


def _check(
    asked: tuple[str, ...], options: Mapping[str, Mapping[str, Any]], has_views: bool
) -> None:
    for name in (*asked, *options):
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}; there are {', '.join(METRICS)}.")
    for name in asked:
        if name in VIEWS and not has_views:
            raise ValueError(f"{name} needs several views of each image: embeddings [n, q, d].")
    for name, given in options.items():
        known = [
            p.name
            for p in inspect.signature(METRICS[name]).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        ]
        for option in given:
            if option not in known:
                raise ValueError(
                    f"{name} has no option {option!r}; it takes {', '.join(known) or 'none'}."
                )
