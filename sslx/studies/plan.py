"""From a study's file to its work: every run's config, folder and commands."""

import runpy
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from ml_collections import ConfigDict

from sslx.hints import check_choice, did_you_mean
from sslx.studies.results import FIGURES
from sslx.studies.runner import Work
from sslx.studies.study import Evaluation, Plan, Run, Study
from sslx.studies.tables import TABLES
from sslx.training.run_folder import check_same, flat


def load_plan(text: str, root: Path) -> Plan:
    """Load the study of `text`, such as configs/studies/lidar_vicreg.py:desk, with runs in `root`.

    Raises ValueError for a file that is not a study, an unknown scale, whatever `check_study`
    finds, and a run folder that holds another run.
    """
    path, _, scale = text.partition(":")
    scale = scale or "desk"
    if not Path(path).is_file():
        known = sorted(map(str, Path("configs/studies").glob("*.py")))
        raise ValueError(
            f"There is no study {path!r}.{did_you_mean(path, known)} Studies: {', '.join(known)}"
        )
    module = load_module(Path(path))
    if not hasattr(module, "get_study"):
        raise ValueError(
            f"{path} is not a study: it has no function get_study(scale). See "
            "sslx/studies/study.py."
        )
    study = module.get_study(scale)
    folder = root / f"{study.folder or Path(path).stem}-{scale}"
    plan = Plan(path, scale, study, folder, check_study(study, f"{Path(path).stem}-{scale}"))
    for run, config in plan.configs.items():
        if (folder / run / "config.json").exists():
            check_same(folder / run, config)
    return plan


def load_module(path: Path) -> SimpleNamespace:
    """Run the file `path`, which may import others below the current folder; return its names."""
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    return SimpleNamespace(**runpy.run_path(str(path)))


def check_study(study: Study, name: str) -> dict[str, ConfigDict]:
    """Return the configs of its runs; raises ValueError for what would else fail hours later."""
    if not study.runs:
        raise ValueError(f"The study {name} has no runs.")
    counts = Counter(run.name for run in study.runs)
    if clashes := [run for run, count in counts.items() if count > 1]:
        raise ValueError(
            f"The study {name} has several runs called {', '.join(clashes)}. Give them names, or "
            "recipes, of their own."
        )
    for table in study.tables:
        check_choice(f"A table of {name}", table, TABLES)
    for figure in study.figures:
        check_choice(f"A figure of {name}", figure, FIGURES)
    for evaluation in study.evaluations:
        try:
            evaluation.settings.check()
            check_choice("seed, for which eval.py has no flag,", evaluation.settings.seed, [0])
        except ValueError as error:
            raise ValueError(f"The study {name}, evaluation {evaluation.name}: {error}") from error
    return {run.name: config_of(run) for run in study.runs if run.program == "train.py"}


def config_of(run: Run) -> ConfigDict:
    """Return the config of a run of train.py; raises ValueError where its changes do not fit."""
    path, _, recipe = run.recipe.partition(":")
    if not Path(path).is_file():
        raise ValueError(f"The run {run.name} has the recipe {path}, which does not exist.")
    config: ConfigDict = load_module(Path(path)).get_config(recipe)
    known = flat(config.to_dict())
    for field in run.changes:
        if field not in known:
            raise ValueError(
                f"The run {run.name} changes {field}, a field that {run.recipe} does not have."
                f"{did_you_mean(field, known)}"
            )
    try:
        config.update_from_flattened_dict(run.changes)
    except TypeError as error:
        raise ValueError(f"The run {run.name}: {error}") from error
    return config


def works_of(plan: Plan) -> list[Work]:
    """Return what there is to do, by seed: so early tables have all configurations."""
    evaluations = tuple(map(evaluation_words, plan.study.evaluations))
    works = []
    for run in sorted(plan.study.runs, key=lambda run: run.changes.get("seed", 0)):
        folder = plan.folder / run.name
        flag = "--config." if run.recipe else "--"
        words = [f"--config={run.recipe}"] if run.recipe else []
        for field, value in run.changes.items():
            text = str(value).replace(" ", "") if isinstance(value, tuple) else str(value)
            words.append(f"{flag}{field}={text}")
        if run.program == "train.py":
            train = ("train.py", *words, f"--run={folder}")
            works.append(Work(run.name, folder, train, evaluations))
        else:
            works.append(Work(run.name, folder, ("-m", run.program, *words), ()))
    return works


def evaluation_words(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the words that make eval.py evaluate a run, without --run.

    Every setting is written out, because defaults of eval.py depend on the run.
    """
    settings = evaluation.settings
    flags = {
        "checkpoint": evaluation.checkpoint,
        "metrics": ",".join(settings.metrics),
        "probe": ",".join(settings.probes),
        "protocol": settings.protocol,
        "images": settings.images,
        "lidar": f"{settings.lidar_images}x{settings.lidar_views}",
        "lidar_delta": settings.lidar_delta,
    }
    named = {name: getattr(settings, name) for name in ("probe_data", "features_of", "pool")}
    flags |= {name: value for name, value in named.items() if value}
    return ("eval.py", "--missing", "--nopixels", *(f"--{n}={v}" for n, v in flags.items()))
