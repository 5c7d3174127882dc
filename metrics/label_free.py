"""All metrics of one set of embeddings, by name, from one spectrum."""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from metrics.arrays import Array, load
from metrics.lidar_state import LidarState
from metrics.neighbours import Clid
from metrics.score import Score
from metrics.spectrum import SpectrumState
from metrics.table import METRICS


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

    - `metrics`: names from `METRICS`; without it all that the layout allows. Of views, a metric
      that needs rows reads the first view of each image. clid gives two entries.
    - `options`: passed on to the metrics, such as `{"lidar": {"delta": 1e-6}}`.
    - `points`: rows that metrics of all pairs read at most, drawn with `seed`; each score has its
      n.
    - `skip_undefined`: leave out, with a warning, a metric that is not defined for these
      embeddings, instead of raising. The default is to do so only without `metrics`.

    Raises ValueError for an unknown metric or option, for a metric that needs views when there are
    none, and for what a requested metric refuses.
    """
    array = embeddings if hasattr(embeddings, "ndim") else np.asarray(embeddings)
    has_views = array.ndim == 3
    array = load(array, "[n, q, d]" if has_views else "[n, d]", "label_free")
    rows = array[:, 0] if has_views else array
    names = tuple(METRICS if metrics is None else metrics)
    options = options or {}
    _check(names, options, has_views or metrics is None)
    if skip_undefined is None:
        skip_undefined = metrics is None
    scatters: LidarState | None = None
    spectrum: SpectrumState | None = None
    scores: dict[str, Score] = {}
    for name in names:
        metric = METRICS[name]
        if metric.needs == "views" and not has_views:
            continue
        if metric.reads == "spectrum" and spectrum is None:
            spectrum = SpectrumState.of(rows, "label_free")
        try:
            if metric.reads == "lda" and scatters is None:
                keep_means = "confidence" in options.get("lidar", {})
                scatters = LidarState.of(array, keep_means=keep_means)
            subject: Any = array if metric.needs == "views" else rows
            if metric.reads == "lda":
                subject = scatters
            elif metric.reads == "spectrum":
                subject = spectrum
            elif metric.reads == "pairs":
                subject = _draw(rows, points, seed)
            result = metric.compute(subject, **options.get(name, {}))
        except ValueError as error:
            if not skip_undefined:
                raise
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        parts = (result,) if isinstance(result, Score) else result
        scores.update(zip(entries(name), parts, strict=True))
    return scores


def entries(metric: str) -> tuple[str, ...]:
    """Return the names that a metric has in the result of `label_free`."""
    if metric == "clid":
        return tuple(f"clid/{part}" for part in Clid._fields)
    return (metric,)


def _draw(rows: Array, count: int, seed: int) -> Array:
    if len(rows) <= count:
        return rows
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]


def _check(
    names: tuple[str, ...], options: Mapping[str, Mapping[str, Any]], has_views: bool
) -> None:
    for name in (*names, *options):
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}; there are {', '.join(METRICS)}.")
    for name in names:
        if METRICS[name].needs == "views" and not has_views:
            raise ValueError(f"{name} needs several views of each image: embeddings [n, q, d].")
    for name, values in options.items():
        parameters = inspect.signature(METRICS[name].compute).parameters.values()
        known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        for option in values:
            if option not in known:
                allowed = ", ".join(known) or "none"
                raise ValueError(f"{name} has no option {option!r}; it takes {allowed}.")
