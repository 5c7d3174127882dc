"""From a study's file to its work: every run's config, folder and commands."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from sslx.hints import check_choice, did_you_mean
from sslx.studies.results import FIGURES
from sslx.studies.runner import Work
from sslx.studies.study import Evaluation, Plan, Run, Study
from sslx.studies.tables import TABLES
from sslx.training.run_folder import check_same, flat

FOLDER = Path("configs/studies")


def load_plan(text: str, root: Path) -> Plan:
    """Load the study of `text`, such as configs/studies/lidar_vicreg.py:desk, with runs in `root`.

    Raises ValueError for a file that is not a study, an unknown scale, whatever `check_study`
    finds, and a run folder that holds another run.
    """
    path, _, scale = text.partition(":")
    if not Path(path).is_file():
        known = sorted(str(file) for file in FOLDER.glob("*.py"))
        raise ValueError(
            f"There is no study {path!r}.{did_you_mean(path, known)} Studies: {', '.join(known)}"
        )
    module = load_module(Path(path))
    if not hasattr(module, "get_study"):
        raise ValueError(
            f"{path} is not a study: it has no function get_study(scale). See "
            "sslx/studies/study.py."
        )
    scale = scale or "desk"
    study = module.get_study(scale)
    configs = check_study(study, f"{Path(path).stem}-{scale}")
    folder = root / f"{study.folder or Path(path).stem}-{scale}"
    plan = Plan(path, scale, study, folder, configs)
    for run, config in plan.configs.items():
        if (plan.folder / run / "config.json").exists():
            check_same(plan.folder / run, config)
    return plan


def load_module(path: Path) -> ModuleType:
    """Import the module in the file `path`; it may import others below the current folder."""
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    spec = importlib.util.spec_from_file_location("_".join(path.with_suffix("").parts), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_study(study: Study, name: str) -> dict[str, ConfigDict]:
    """Return the configs of the study's runs.

    Raises ValueError for what would only be found out hours later.
    """
    if not study.runs:
        raise ValueError(f"The study {name} has no runs.")
    counts = Counter(run.name for run in study.runs)
    clashes = [run for run, count in counts.items() if count > 1]
    if clashes:
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
        except ValueError as error:
            raise ValueError(f"The study {name}, evaluation {evaluation.name}: {error}") from error
        if evaluation.settings.seed:
            raise ValueError(
                f"The study {name}, evaluation {evaluation.name}: seed is "
                f"{evaluation.settings.seed}, but eval.py evaluates with seed 0; leave it out."
            )
    return {run.name: config_of(run) for run in study.runs if run.program == "train.py"}


def config_of(run: Run) -> ConfigDict:
    """Return the config of a run of train.py.

    Raises ValueError for a recipe or a field that does not exist, and for a value of another type.
    """
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
    """Return what there is to do for each run, in turns of one seed of each configuration.

    So early tables have all configurations.
    """
    runs = sorted(plan.study.runs, key=lambda run: run.changes.get("seed", 0))
    return [_work(run, plan) for run in runs]


def evaluation_words(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the words that make eval.py evaluate a run, without --run.

    Every setting is written out, because defaults of eval.py depend on the run.
    """
    settings = evaluation.settings
    flags: dict[str, Any] = {
        "checkpoint": evaluation.checkpoint,
        "metrics": ",".join(settings.metrics),
        "probe": ",".join(settings.probes),
        "protocol": settings.protocol,
        "images": settings.images,
        "lidar": f"{settings.lidar_images}x{settings.lidar_views}",
        "lidar_delta": settings.lidar_delta,
    }
    for name in ("probe_data", "features_of", "pool"):
        if value := getattr(settings, name):
            flags[name] = value
    words = (f"--{name}={value}" for name, value in flags.items())
    return ("eval.py", "--missing", "--nopixels", *words)


def _work(run: Run, plan: Plan) -> Work:
    folder = plan.folder / run.name
    changes = [f"{field}={_text(value)}" for field, value in run.changes.items()]
    if not run.recipe:
        words = ("-m", run.program, *(f"--{change}" for change in changes))
        return Work(run.name, folder, words, ())
    flags = (f"--config={run.recipe}", *(f"--config.{change}" for change in changes))
    if run.program != "train.py":
        return Work(run.name, folder, ("-m", run.program, *flags), ())
    evaluations = tuple(evaluation_words(evaluation) for evaluation in plan.study.evaluations)
    return Work(run.name, folder, ("train.py", *flags, f"--run={folder}"), evaluations)


def _text(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, tuple) else str(value)
