"""What a study is made of: named runs, how they are evaluated, and tables and figures of them.

A file in `configs/studies/` has a function `get_study(scale)`, which returns a `Study`;
reproduce.py runs it.
"""

import re
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx.evaluation.settings import Settings, parse_lidar
from sslx.hints import check_choice

Changes = dict[str, Any]  # field of the config: value, such as {"optimizer.learning_rate": 0.1}

SCALES = ("desk", "paper")
MEASURED = ("lidar", "debiased_lidar", "rankme", "augmented_rankme", "alpha_req")
# Of runs on a desk.
ONE_CORE: Changes = {"devices": 1, "monitor.every": "0 steps", "checkpoint.every": "50%"}


class Run(NamedTuple):
    """A command whose folder is `name`: train.py with a recipe, or a program of `theory/`."""

    name: str
    recipe: str  # as --config takes it: configs/digits.py:diet
    changes: Changes
    row: str  # of the tables it belongs to, usually the method
    program: str = "train.py"  # or a module, such as theory.identifiability


class Evaluation(NamedTuple):
    """How runs are evaluated: which checkpoints, and every setting of eval.py."""

    name: str
    checkpoint: str  # all, or last
    settings: Settings

    def with_settings(self, **changes: Any) -> "Evaluation":
        """Return the same evaluation with some settings changed."""
        return self._replace(settings=self.settings._replace(**changes))


def evaluation(
    name: str = "main", checkpoint: str = "all", *, lidar: str = "1000x10", **settings: Any
) -> Evaluation:
    """Return an evaluation; `lidar` is n x q, and `settings` are fields of `Settings`.

    LiDAR's paper has 1000x50 for methods with masks, and 5000x10 and 10000x10 for those with views.
    Raises ValueError for a text that is not n x q, and for a field that does not exist.
    """
    n, q = parse_lidar(lidar)
    default = Settings(metrics=MEASURED, lidar_images=n, lidar_views=q)
    return Evaluation(name, checkpoint, default._replace(**settings))


class Published(NamedTuple):
    """A number of a paper that we could check, to stand beside ours."""

    row: str
    column: str
    value: str
    source: str


class Study(NamedTuple):
    """Runs, evaluations, and what is made of them."""

    runs: tuple[Run, ...]
    tables: tuple[str, ...]  # names in sslx/studies/tables.py
    figures: tuple[str, ...] = ()  # names in sslx/studies/results.py
    evaluations: tuple[Evaluation, ...] = (evaluation(),)  # tables are of the first one
    target: str = "linear"  # the probe that selection is measured by
    published: tuple[Published, ...] = ()
    unpublished: str = "not published here"  # in place of a number that could not be checked
    folder: str = ""  # below runs/; empty: the study's own. Studies may share one


class Plan(NamedTuple):
    """A study and where it lives."""

    path: str  # as --study has it, without the scale
    scale: str
    study: Study
    folder: Path  # of its runs
    configs: dict[str, ConfigDict]  # of each run of train.py, by its name

    @property
    def name(self) -> str:
        """The study's name with its scale, such as lidar_vicreg-desk."""
        return f"{Path(self.path).stem}-{self.scale}"


def check_scale(scale: str) -> None:
    """Raise ValueError for a scale that studies do not have."""
    check_choice("The scale, which is after the colon of --study,", scale, SCALES)


def runs(
    recipe: str, *variants: Changes, fixed: Changes | None = None, seeds: int = 3, row: str = ""
) -> list[Run]:
    """Return a run of `recipe` for each variant (without any: the recipe itself) and each seed.

    Seeds count from 0. Variants and seeds give a run its name; `fixed` changes are those of all
    runs of the study. The row is the method, unless it is given.
    """
    path, _, choice = recipe.partition(":")
    words = choice.split(",")
    base = "-".join([Path(path).stem, *words])
    grid = []
    for variant, seed in product(variants or ({},), range(seeds)):
        named = variant | {"seed": seed}
        grid.append(Run(name(base, named), recipe, (fixed or {}) | named, row or words[0]))
    return grid


def sweep(base: Changes, axes: dict[str, tuple[Any, ...]]) -> list[Changes]:
    """Return `base` and, for each value of each axis, `base` with that one field changed."""
    variants = [base]
    for field, values in axes.items():
        variants += [base | {field: value} for value in values if value != base[field]]
    return variants


def name(base: str, changes: Changes) -> str:
    """Return a folder's name, such as mnist5k-vicreg-covariance=10-seed=0."""
    words = [base]
    for field, value in changes.items():
        text = "_".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words.append(field.rpartition(".")[2] + "=" + re.sub(r"[^\w.+-]+", "_", text))
    return "-".join(words)
