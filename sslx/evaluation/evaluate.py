"""One checkpoint's verdict: label-free metrics on each layer, and what labels say about the representation."""

import time
from typing import Any, NamedTuple

import numpy as np

from metrics import label_free, singular_values
from metrics.label_free import LDA, METRICS, VIEWS, entries
from sslx.data.sources import Source, Sources
from sslx.evaluation.features import Extractor, Model, check_lidar
from sslx.evaluation.knn import knn_accuracy
from sslx.evaluation.linear_probe import PROTOCOLS, linear_probe
from sslx.method import Features

LABEL_FREE = tuple(METRICS)
DEFAULT = ("lidar", "rankme", "feature_std")
PROBES = ("linear", "knn")
LAYERS = ("representation", "embedding")
# n x q of LiDAR by kind of method: I-JEPA and data2vec, and those that compare views (reported for arXiv 2312.04000).
LIDAR_PROTOCOLS = {"masking": (1000, 50), "joint_embedding": (5000, 10)}
PIXELS_BYTES = 8 * 2**30  # of raw pixels in float32; the probes need them all at once


class Settings(NamedTuple):
    """What is measured, and on how much; every number is only comparable at equal settings."""

    metrics: tuple[str, ...]
    probes: tuple[str, ...]
    protocol: str
    images: int  # for RankMe and the standard deviation
    lidar_images: int  # n
    lidar_views: int  # q
    seed: int
    lidar_delta: float = 1e-4
    probe_data: str = ""  # another data set for the probes; empty: the run's own
    features_of: str = (
        ""  # which network and which of its features, where config.method says; empty: as it says
    )
    pool: str = ""

    def check(self) -> None:
        """Raise ValueError for an unknown metric, probe or protocol, and for n or q below 2."""
        for what, given, known in (
            ("metrics", self.metrics, LABEL_FREE),
            ("probe", self.probes, PROBES),
            ("protocol", (self.protocol,), tuple(PROTOCOLS)),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(f"--{what} has {name!r}; it takes {', '.join(known)}.")
        if self.reads_views():
            check_lidar(self.lidar_images, self.lidar_views, "--lidar_images, --lidar_views")

    def reads_views(self) -> bool:
        """Whether a metric needs several views of each image."""
        return not VIEWS.keys().isdisjoint(self.metrics)


def lidar_protocol(text: str) -> tuple[int, int]:
    """n and q of a protocol's name or of a text such as 1000x50; raises ValueError for anything else."""
    if text in LIDAR_PROTOCOLS:
        return LIDAR_PROTOCOLS[text]
    n, _, q = text.partition("x")
    if not (n.isdigit() and q.isdigit()):
        raise ValueError(
            f"--lidar is {text!r}; it takes n x q such as 1000x50, or {', '.join(LIDAR_PROTOCOLS)}."
        )
    return int(n), int(q)


class Verdict(NamedTuple):
    """The numbers of one checkpoint by name, such as lidar/representation or linear, and its singular values."""

    step: int
    values: dict[str, float]
    spectrum: np.ndarray
    details: dict[str, Any]  # what the probe selected
    seconds: dict[
        str, float
    ] = {}  # what features of images and of views took, their metrics, and the probes


def judge(
    step: int, model: Model, extractor: Extractor, data: Sources, settings: Settings
) -> Verdict:
    """Measure `model`; probes are left out where there are no labels or no test split."""
    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    watch = Watch()
    plain = extractor.plain(model, draw(data.train, settings.images, settings.seed))
    watch("images")
    views = None
    if settings.reads_views():
        images = draw(data.train, settings.lidar_images, settings.seed)
        views = extractor.views(model, images, settings.lidar_views, settings.seed)
    watch("views")
    measured = {layer: _measure(plain, views, layer, settings, watch) for layer in LAYERS}
    for metric in settings.metrics:
        for name in entries(metric):
            values |= {f"{name}/{layer}": found[name] for layer, found in measured.items() if found}
    if has_labels(data) and settings.probes:
        assert data.test is not None
        split = [
            np.asarray(extractor.plain(model, source.images).representation)
            for source in (data.probe, data.test)
        ]
        values |= probe(split[0], data.probe.labels, split[1], data.test.labels, settings, details)
    watch("probes")
    return Verdict(step, values, singular_values(plain.representation), details, watch.seconds)


class Watch:
    """Adds up what each part of a job takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def __call__(self, part: str) -> None:
        """Count the seconds since the last call as `part`'s."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


def _measure(
    plain: Features, views: Features | None, layer: str, settings: Settings, watch: Watch
) -> dict[str, float]:
    """The label-free metrics of one layer, NaN with a warning where one is not defined; empty if there is no layer."""
    values: dict[str, float] = {}
    for features, of_views in ((plain, False), (views, True)):
        asked = [name for name in settings.metrics if (name in VIEWS) == of_views]
        array = getattr(features, layer, None)
        if asked and array is not None:
            values |= dict.fromkeys(
                (entry for name in asked for entry in entries(name)), float("nan")
            )
            options = {name: {"delta": settings.lidar_delta} for name in asked if name in LDA}
            values |= label_free(
                array, asked, options=options, seed=settings.seed, skip_undefined=True
            )
            watch("metrics of views" if of_views else "metrics of images")
    return values


def judge_pixels(data: Sources, settings: Settings) -> dict[str, float]:
    """The same probes on raw pixels in [0, 1]: what an encoder has to beat. Left out, with a note, where too large."""
    if not has_labels(data) or not settings.probes:
        return {}
    assert data.test is not None
    if (size := 4 * data.probe.images.nbytes) > PIXELS_BYTES:
        print(
            f"note: raw pixels as features would take {size / 2**30:.0f} GiB, so they are not judged"
        )
        return {}
    split = [
        np.asarray(source.images[:], np.float32).reshape(len(source.images), -1) / 255
        for source in (data.probe, data.test)
    ]
    return probe(split[0], data.probe.labels, split[1], data.test.labels, settings, {})


def probe(
    train: np.ndarray,
    train_labels: Any,
    test: np.ndarray,
    test_labels: Any,
    settings: Settings,
    details: dict[str, Any],
) -> dict[str, float]:
    """Accuracy of the probes asked for, trained on the training split's features and judged on the test split's."""
    values = {}
    if "knn" in settings.probes:
        values["knn"] = knn_accuracy(train, train_labels, test, test_labels, k=min(20, len(train)))
    if "linear" in settings.probes:
        result = linear_probe(
            train, train_labels, test, test_labels, protocol=settings.protocol, seed=settings.seed
        )
        values["linear"] = result.accuracy
        details["linear"] = {
            "selected": result.selected,
            "validation": result.validation_accuracy,
            "nominal": result.nominal_accuracy,
        }
    return values


def has_labels(data: Sources) -> bool:
    """Whether probes are possible."""
    return data.probe.labels is not None and data.test is not None and data.test.labels is not None


def draw(source: Source, count: int, seed: int) -> np.ndarray:
    """At most `count` images of the source, always the same for one seed."""
    chosen = np.random.default_rng([seed, 1]).permutation(len(source.images))[:count]
    return np.asarray(source.images[np.sort(chosen)])


def describe(settings: Settings, data: Sources) -> list[str]:
    """What stands beside the numbers: layer, n, q, constants, protocol and split of each."""
    count, few = (min(n, len(data.train.images)) for n in (settings.images, settings.lidar_images))
    name = data.train.facts["name"]
    lines = {
        "lidar": f"LiDAR: n = {few} images of {name}, q = {settings.lidar_views} views by the method's own recipe, "
        f"delta {settings.lidar_delta:g}, eps 1e-7, denominators n-1 and n(q-1)",
        "debiased_lidar": "debiased LiDAR: the same views and constants; ours, not the paper's",
        "rankme": f"RankMe: n = {count} images of {name} without augmentation, uncentred, eps 1e-7",
        "feature_std": f"std: mean standard deviation of unit-length features x sqrt(d); n = {count} images of {name}",
    }
    if others := [name for name in settings.metrics if name not in lines]:
        said_others = "their defaults in metrics/ and at most 4,096 rows for pairs"
        lines["others"] = f"{', '.join(others)}: the same images or views, {said_others}"
    said = [line for metric, line in lines.items() if metric in (*settings.metrics, "others")]
    if has_labels(data) and settings.probes:
        taught, asked = (
            f"{source.facts['name']} ({len(source.images)})"
            for source in (data.probe, data.test)
            if source
        )
        split = f"{taught} to {asked}, no augmentation"
        if "knn" in settings.probes:
            said.append(
                f"kNN: representation, k = {min(20, len(data.probe.images))}, cosine, weights exp(s / 0.07); {split}"
            )
        if "linear" in settings.probes:
            said.append(
                f"linear: representation, protocol {settings.protocol}: "
                f"{PROTOCOLS[settings.protocol].description}; {split}"
            )
    return said
