"""What a study is made of: named runs, how they are judged, and the tables and figures made of
them.

A file in `configs/studies/` has a function `get_study(scale)`, which returns a `Study`;
reproduce.py runs it."""

import re
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

Changes = dict[str, Any]  # field of the config: value, such as {"optimizer.learning_rate": 0.1}

RANKS = ("lidar", "debiased_lidar", "rankme", "augmented_rankme", "alpha_req")
ONE_CORE = {
    "devices": 1,
    "monitor.every": "0 steps",
    "checkpoint.every": "50%",
}  # of runs on a desk
SCALES = ("desk", "paper")


class Run(NamedTuple):
    """A command whose folder is `name`: train.py with a recipe and changes of it, or a program of
    `theory/`.
    """

    name: str
    recipe: str
    changes: Changes
    row: str  # of the tables it belongs to, usually the method
    program: str = "train.py"  # or a module, such as theory.identifiability


class Judgement(NamedTuple):
    """How checkpoints are judged: flags of eval.py, all of them written out, so that equal ones
    compare.
    """

    name: str = "main"
    checkpoint: str = "all"
    metrics: tuple[str, ...] = RANKS
    probe: tuple[str, ...] = ("linear", "knn")
    protocol: str = "lbfgs"
    images: int = 10000
    lidar: str = "1000x10"  # n x q; the paper's are 1000x50 (masking methods), 5000x10 and 10000x10
    delta: float = 1e-4
    probe_data: str = (
        ""  # another data set, to learn and to judge the probes on; empty: the run's own
    )


class Published(NamedTuple):
    """A number of a paper that we could check, to stand beside ours."""

    row: str
    column: str
    value: str
    source: str


class Study(NamedTuple):
    """Runs, judgements, and what is made of them; `tables` and `figures` are names in sslx/studies."""

    runs: tuple[Run, ...]
    tables: tuple[str, ...]
    figures: tuple[str, ...] = ()
    judgements: tuple[Judgement, ...] = (Judgement(),)
    target: str = "linear"  # the probe that selection is measured by
    published: tuple[Published, ...] = ()
    unpublished: str = (
        "not published here"  # what the tables say in place of a number that could not be checked
    )
    folder: str = ""  # below runs/; empty: the study's own. Studies may share one


def check_scale(scale: str) -> None:
    """Raise ValueError for a scale that studies do not have."""
    if scale not in SCALES:
        allowed = " and ".join(SCALES)
        raise ValueError(
            f"A study has no scale {scale!r}; it has {allowed}: "
            f"--study=configs/studies/NAME.py:{SCALES[1]}"
        )


def runs(
    recipe: str, *variants: Changes, fixed: Changes | None = None, seeds: int = 3, row: str = ""
) -> list[Run]:
    """A run of `recipe` for each of the variants (without any: the recipe itself) and seeds 0, 1,
    ...

    Variants and seeds give a run its name; `fixed` changes are those of all runs of the study.
    """
    path, _, choice = recipe.partition(":")
    base = "-".join([Path(path).parent.name, Path(path).stem, *filter(None, [choice])])
    found = []
    for variant, seed in product(variants or ({},), range(seeds)):
        changes = {**(fixed or {}), **variant, "seed": seed}
        found.append(
            Run(name(base, variant | {"seed": seed}), recipe, changes, row or Path(path).stem)
        )
    return found


def sweep(base: Changes, axes: dict[str, tuple[Any, ...]]) -> list[Changes]:
    """One variant for each value of each axis, all other fields as in `base`; the base itself comes
    first, once.
    """
    variants = [base]
    for field, values in axes.items():
        variants += [base | {field: value} for value in values if value != base[field]]
    return variants


def name(base: str, changes: Changes) -> str:
    """A folder's name, such as mnist5k-vicreg-covariance=10-seed=0."""
    parts = [
        base,
        *(f"{field.rsplit('.', 1)[-1]}={_word(value)}" for field, value in changes.items()),
    ]
    return "-".join(parts)


def _word(value: Any) -> str:
    text = "_".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return re.sub(r"[^\w.+-]+", "_", text)
