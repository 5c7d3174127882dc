"""From a study's file to its work: every run's config, its folder, and the commands that train and
judge it.
"""

import difflib
import importlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from metrics.label_free import METRICS
from sslx.evaluation.evaluate import PROBES, lidar_protocol
from sslx.evaluation.linear_probe import PROTOCOLS
from sslx.studies.runner import Work
from sslx.studies.study import Judgement, Run, Study
from sslx.training.run_folder import check_same

FOLDER = Path("configs/studies")
TABLES = (
    "accuracy",
    "correlation",
    "selection",
    "transfer",
    "ablation",
    "settings",
    "cost",
    "theory",
)
FIGURES = ("metric_against_probe", "over_training", "spectra", "regret", "accuracy_over_epochs")


class Plan(NamedTuple):
    """A study and where it lives."""

    given: str  # as --study was given
    name: str  # lidar_vicreg-desk
    study: Study
    folder: Path  # of its runs; studies may share one
    configs: dict[str, ConfigDict]  # of each run of train.py, by its name


def load_plan(given: str, root: Path) -> Plan:
    """The study of `given`, such as configs/studies/lidar_vicreg.py:desk, with its runs below
    `root`.

    Raises ValueError for a file that is none, an unknown scale, names that clash, and whatever
    `check_study` finds."""
    path, _, scale = given.partition(":")
    if not Path(path).is_file():
        known = sorted(str(found) for found in FOLDER.glob("*.py"))
        close = difflib.get_close_matches(path, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"There is no study {path!r}.{hint} Studies: {', '.join(known)}")
    module = load_module(Path(path))
    if not hasattr(module, "get_study"):
        raise ValueError(
            f"{path} is no study: it has no function get_study(scale). See sslx/studies/study.py."
        )
    scale = scale or "desk"
    study = module.get_study(scale)
    name = f"{Path(path).stem}-{scale}"
    configs = check_study(study, name)
    folder = root / (f"{study.folder}-{scale}" if study.folder else name)
    for run, config in configs.items():
        if (folder / run / "config.json").exists():
            check_same(folder / run, config)
    return Plan(given, name, study, folder, configs)


def load_module(path: Path) -> ModuleType:
    """The module in the file `path`."""
    sys.path[:0] = [] if "" in sys.path or str(Path.cwd()) in sys.path else [str(Path.cwd())]
    spec = importlib.util.spec_from_file_location("_".join(path.with_suffix("").parts), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_study(study: Study, name: str) -> dict[str, ConfigDict]:
    """The configs of the study's runs; raises ValueError for what would only be found out hours
    later.
    """
    if not study.runs:
        raise ValueError(f"The study {name} has no runs.")
    clashes = [run for run, count in Counter(run.name for run in study.runs).items() if count > 1]
    if clashes:
        raise ValueError(
            f"The study {name} has several runs called {', '.join(clashes)}. Give them names, or "
            "recipes, of their own."
        )
    for what, given, known in (("table", study.tables, TABLES), ("figure", study.figures, FIGURES)):
        for word in given:
            if word not in known:
                raise ValueError(
                    f"The study {name} names the {what} {word!r}; there are {', '.join(known)}."
                )
    for judgement in study.judgements:
        check_judgement(judgement, name)
    return {run.name: config_of(run) for run in study.runs if run.program == "train.py"}


def check_judgement(judgement: Judgement, name: str) -> None:
    """Raise ValueError for a metric, a probe, a protocol or an n x q that eval.py would refuse."""
    for what, given, known in (
        ("metric", judgement.metrics, METRICS),
        ("probe", judgement.probe, PROBES),
        ("protocol", (judgement.protocol,), PROTOCOLS),
    ):
        for word in given:
            if word not in known:
                raise ValueError(
                    f"The study {name} judges by the {what} {word!r}; there are {', '.join(known)}."
                )
    lidar_protocol(judgement.lidar)


def config_of(run: Run) -> ConfigDict:
    """The config of a run of train.py; raises ValueError for a recipe or a field that does not
    exist.
    """
    path, _, choice = run.recipe.partition(":")
    if not Path(path).is_file():
        raise ValueError(f"The run {run.name} has the recipe {path}, which does not exist.")
    module = load_module(Path(path))
    config: ConfigDict = module.get_config(*([choice] if choice else []))
    for field in run.changes:
        *way, last = field.split(".")
        part = config
        for step in way:
            part = part.get(step, {})
        if last not in part:
            close = difflib.get_close_matches(last, list(part), n=1)
            raise ValueError(
                f"The run {run.name} changes {field}, a field that {path} does not have."
                + (f" Did you mean {'.'.join([*way, close[0]])}?" if close else "")
            )
    try:
        config.update_from_flattened_dict(run.changes)
    except TypeError as error:
        raise ValueError(f"The run {run.name}: {error}") from error
    return config


def works_of(plan: Plan) -> list[Work]:
    """What there is to do for each run, all seeds of a configuration at a time apart, so that early
    tables have all.
    """
    runs = sorted(plan.study.runs, key=lambda run: run.changes.get("seed", 0))
    return [_work(run, plan) for run in runs]


def _work(run: Run, plan: Plan) -> Work:
    folder = plan.folder / run.name
    if run.program != "train.py":
        flags = [
            f"--{'config.' if run.recipe else ''}{field}={_text(value)}"
            for field, value in run.changes.items()
        ]
        return Work(
            run.name,
            folder,
            ("-m", run.program, *([f"--config={run.recipe}"] * bool(run.recipe)), *flags),
            (),
        )
    changes = (f"--config.{field}={_text(value)}" for field, value in run.changes.items())
    train = ("train.py", f"--config={run.recipe}", *changes, f"--run={folder}")
    return Work(run.name, folder, train, tuple(map(judgement_words, plan.study.judgements)))


def judgement_words(judgement: Judgement) -> tuple[str, ...]:
    """The words that make eval.py judge a run, but for the run itself."""
    fields = {
        "checkpoint": judgement.checkpoint,
        "metrics": ",".join(judgement.metrics),
        "probe": ",".join(judgement.probe),
        "protocol": judgement.protocol,
        "images": judgement.images,
        "lidar": judgement.lidar,
        "lidar_delta": judgement.delta,
    } | ({"probe_data": judgement.probe_data} if judgement.probe_data else {})
    flags = (f"--{name}={value}" for name, value in fields.items())
    return ("eval.py", "--missing", "--nopixels", *flags)


def judged_by(judgement: Judgement) -> dict[str, Any]:
    """The settings that verdicts of this judgement have in eval.jsonl."""
    n, q = lidar_protocol(judgement.lidar)
    return json.loads(
        json.dumps(
            {
                "metrics": judgement.metrics,
                "probes": judgement.probe,
                "protocol": judgement.protocol,
                "images": judgement.images,
                "lidar_images": n,
                "lidar_views": q,
                "lidar_delta": judgement.delta,
                "probe_data": judgement.probe_data,
            }
        )
    )


def _text(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, tuple) else str(value)
