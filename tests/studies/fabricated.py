"""A study whose run folders are written by hand, with numbers that one can check in one's head."""

import json
from pathlib import Path

from sslx.studies.plan import check_study
from sslx.studies.study import Plan, Study, evaluation, runs, sweep
from sslx.training.run_folder import open_run

EVALUATION = evaluation(metrics=("lidar", "rankme"), lidar="200x4")
BASE = {"optimizer.learning_rate": 1e-3, "optimizer.weight_decay": 0.05}
AXES = {"optimizer.learning_rate": (1e-4, 1e-3, 1e-2), "optimizer.weight_decay": (0.0, 0.05, 0.5)}
# By learning rate and weight decay: accuracy, LiDAR and RankMe of seed 0; seed 1 adds 0.01, 1, 1.
NUMBERS = {
    (1e-3, 0.05): (0.90, 20.0, 30.0),
    (1e-4, 0.05): (0.80, 10.0, 35.0),
    (1e-2, 0.05): (0.95, 25.0, 20.0),
    (1e-3, 0.0): (0.85, 15.0, 33.0),
    (1e-3, 0.5): (0.70, 22.0, 12.0),
}


def study(labels: bool = True) -> Study:
    """Five configurations with two seeds, one that diverges and one that has not been run."""
    recipe, fixed = "configs/digits.py:simclr", {"duration": "4 steps"}
    grid = runs(recipe, *sweep(BASE, AXES), fixed=fixed, seeds=2)
    grid += runs(recipe, {"optimizer.learning_rate": 1.0}, seeds=1)
    grid += runs("configs/digits.py:diet", seeds=1)
    tables = ("accuracy", "correlation", "selection", "ablation", "cost")
    main = EVALUATION if labels else EVALUATION.with_settings(probes=())
    return Study(tuple(grid), tables, evaluations=(main,))


def write(root: Path, labels: bool = True) -> Plan:
    """Write the study's folders, as training and evaluation would leave them."""
    made = study(labels)
    configs = check_study(made, "fabricated")
    for run in made.runs:
        folder = root / run.name
        if run.row == "diet":
            continue
        facts = {
            "name": "digits/train",
            "count": 1437,
            "shape": [8, 8, 1],
            "hash": "0123456789abcdef",
        }
        open_run(
            folder,
            configs[run.name],
            {"train": facts, "test": facts | {"name": "digits/test", "count": 360}},
        )
        (folder / "environment.jsonl").write_text(
            json.dumps({"devices": ["cpu:0 cpu"], "packages": {"jax": "0.0"}, "python": "3"}) + "\n"
        )
        outcome = {
            "status": "done",
            "reason": "",
            "seconds": {"train": 60.0},
            "memory_gib": 0.5,
            "evaluations": [],
        }
        if run.changes["optimizer.learning_rate"] == 1.0:
            outcome |= {"status": "diverged", "reason": "loss became non-finite in step 3"}
        else:
            (folder / "eval.jsonl").write_text("".join(_results(run, made.evaluations[0], labels)))
            speeds = [
                {"step": step, "images_per_second": 1000.0 * (1 + run.changes["seed"])}
                for step in (2, 4)
            ]
            (folder / "metrics.jsonl").write_text(
                "".join(json.dumps(line) + "\n" for line in speeds)
            )
        (folder / "outcome.json").write_text(json.dumps(outcome))
    return Plan("fabricated.py", "desk", made, root, configs)


def _results(run, evaluation, labels):
    rate, decay = (run.changes[field] for field in BASE)
    accuracy, lidar, rankme = NUMBERS[rate, decay]
    seed = run.changes["seed"]
    for step, share in ((0, 0.5), (4, 1.0)):
        values = {
            "lidar/representation": share * (lidar + seed),
            "rankme/representation": share * (rankme + seed),
        }
        if labels:
            values |= {"linear": share * (accuracy + seed / 100), "knn": share * 0.8}
        about = {
            "settings": evaluation.settings._asdict(),
            "probe": {},
            "notes": [],
            "scores": {},
            "seconds": {"views": 1.0},
        }
        yield json.dumps({"step": step} | values | about | {"spectrum": [2.0, 1.0, 0.5]}) + "\n"
