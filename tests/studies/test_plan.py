"""A study's mistakes are found before its first run; and what a study costs, without images or
training.
"""

import json

import pytest

from sslx.studies.estimate import ONE_CORE, ONE_GPU, costs_of, dry, images_of, remaining
from sslx.studies.evidence import gather
from sslx.studies.plan import check_study, config_of, load_plan, works_of
from sslx.studies.runner import Outcome
from sslx.studies.study import Judgement, Run, Study, runs
from tests.studies import fabricated

GOOD = """
from sslx.studies.study import Judgement, Study, runs
def get_study(scale):
    found = runs("configs/digits/simclr.py", {"optimizer.learning_rate": 0.1}, seeds=2)
    return Study(tuple(found), ("accuracy",), judgements=(Judgement(lidar="200x4"),))
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.py"
    path.write_text(GOOD)
    return path


def test_a_study_becomes_commands_that_a_user_could_type(good, tmp_path):
    plan = load_plan(f"{good}:desk", tmp_path)
    assert plan.name == "good-desk"
    first, second = works_of(plan)
    folder = tmp_path / "good-desk" / "digits-simclr-learning_rate=0.1-seed=0"
    assert first.train == (
        "train.py",
        "--config=configs/digits/simclr.py",
        "--config.optimizer.learning_rate=0.1",
        "--config.seed=0",
        f"--run={folder}",
    )
    assert first.judgements[0][:3] == ("eval.py", "--missing", "--nopixels")
    assert "--lidar=200x4" in first.judgements[0]
    assert second.name.endswith("seed=1")


def test_a_program_of_the_theory_is_a_run_too(tmp_path):
    run = Run(
        "free",
        "configs/theory/vmf.py",
        {"rows": "free", "seed": 1},
        "free",
        "theory.identifiability",
    )
    toy = Run("toy", "", {"seeds": 2}, "toy", "theory.noise")
    plan = fabricated.write(tmp_path)._replace(study=Study((toy, run), ("theory",)), configs={})
    one, two = works_of(plan)
    assert one.train == ("-m", "theory.noise", "--seeds=2")
    assert two.train == (
        "-m",
        "theory.identifiability",
        "--config=configs/theory/vmf.py",
        "--config.rows=free",
        "--config.seed=1",
    )
    assert one.judgements == ()
    assert gather(plan).facts["toy"].status == "missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("0.1}", "0.1}, {'optimizer.learning_rate': 0.1}"),
            "several runs called digits-simclr-learning",
        ),
        (
            GOOD.replace("simclr.py", "simlcr.py"),
            "recipe configs/digits/simlcr.py, which does not exist",
        ),
        (GOOD.replace("learning_rate", "lerning_rate"), r"Did you mean optimizer.learning_rate\?"),
        (GOOD.replace("0.1}", "'fast'}"), "digits-simclr-learning_rate=fast-seed=0: "),
        (
            GOOD.replace('lidar="200x4"', 'metrics=("lidra",)'),
            "judges by the metric 'lidra'; there are lidar, ",
        ),
        (
            GOOD.replace('lidar="200x4"', 'probe=("svm",)'),
            "judges by the probe 'svm'; there are linear, knn",
        ),
        (GOOD.replace('lidar="200x4"', 'protocol="moco"'), "the protocol 'moco'"),
        (GOOD.replace("200x4", "many"), "--lidar is 'many'; it takes n x q such as 1000x50"),
        (
            GOOD.replace('("accuracy",)', '("acuracy",)'),
            "the table 'acuracy'; there are accuracy, ",
        ),
        (
            GOOD.replace('("accuracy",)', '(), ("spectrum",)'),
            "the figure 'spectrum'; there are metric_against_probe",
        ),
        (GOOD.replace("seeds=2", "seeds=0"), "has no runs"),
        ("x = 1", "has no function get_study"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(good, tmp_path, text, message):
    good.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_plan(f"{good}:desk", tmp_path)


def test_a_study_that_does_not_exist_names_the_nearest(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"no study 'configs/studies/lidar_vicerg.py'. Did you mean .*lidar_vicreg.py",
    ):
        load_plan("configs/studies/lidar_vicerg.py", tmp_path)
    with pytest.raises(ValueError, match="no scale 'pocket'; it has desk and paper"):
        load_plan("configs/studies/lidar_vicreg.py:pocket", tmp_path)


def test_a_folder_that_holds_another_run_is_refused(good, tmp_path):
    plan = load_plan(str(good), tmp_path)
    name, config = next(iter(plan.configs.items()))
    config.batch_size = 7
    folder = plan.folder / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(
        ValueError, match="holds a run that differs: batch_size is 7 there, 128 here"
    ):
        load_plan(str(good), tmp_path)


def test_operations_are_those_of_the_network():
    """A ResNet-50 at 224 pixels takes 4.1 billion multiply-adds forward, thrice that with the
    backward pass.
    """
    run = runs(
        "configs/imagenet/simclr.py",
        {"duration": "100 steps", "batch_size": 8, "optimizer.warmup": "0 steps"},
        seeds=1,
    )[0]
    cost = costs_of({"a": config_of(run)})["a"]
    assert cost.steps == 100
    per_image = cost.operations / (100 * 8)
    assert per_image == pytest.approx(2 * 3 * 2 * 4.09e9, rel=0.05)
    assert cost.speed == ONE_GPU
    assert cost.seconds() == pytest.approx(cost.operations / ONE_GPU)


def test_the_estimate_needs_no_images_and_traces_equal_structures_once(tmp_path, monkeypatch):
    from sslx.studies import estimate

    traced = []
    monkeypatch.setattr(estimate, "step_operations", lambda *given: traced.append(given) or 1e9)
    found = runs(
        "configs/mnist5k/sdiet.py",
        {"method.rows": "host"},
        {"optimizer.learning_rate": 1.0},
        seeds=2,
    )
    found += runs(
        "configs/digits/simclr.py", {"devices": 1, "data.train_split": "train[:50%]"}, seeds=1
    )
    costs = costs_of({run.name: config_of(run) for run in found})
    assert len(traced) == 3
    assert next(iter(costs.values())).steps == 60 * 31
    half = config_of(found[-1])
    assert images_of(half) == (round(1437 / 2), (8, 8, 1))
    assert costs[found[-1].name].speed == ONE_CORE
    half.data.name = "folder:somewhere"
    assert costs_of({"a": half})["a"].steps == 0


def test_s_diet_with_rows_on_the_host_can_be_estimated():
    run = runs("configs/digits/sdiet.py", {"method.rows": "host"}, seeds=1)[0]
    assert costs_of({"a": config_of(run)})["a"].operations > 1e9


def test_what_is_left_follows_the_runs_that_have_ended(tmp_path, monkeypatch):
    from sslx.studies import estimate

    monkeypatch.setattr(estimate, "step_operations", lambda *given: 1e9)
    plan = fabricated.write(tmp_path)
    works, costs = works_of(plan), costs_of(plan.configs)
    # Ten runs took 60 seconds each, one diverged, one is missing (another recipe: as many times
    # what was estimated).
    finished = [work for work in works if (work.folder / "outcome.json").exists()]
    for work in finished:
        judged = tuple(" ".join(words) for words in work.judgements)
        outcome = Outcome(
            **json.loads((work.folder / "outcome.json").read_text()) | {"judgements": judged}
        )
        (work.folder / "outcome.json").write_text(json.dumps(outcome._asdict()))
    left = (
        works[-1]
        if works[-1] not in finished
        else next(work for work in works if work not in finished)
    )
    simclr = costs[finished[0].name]
    expected = 60 * costs[left.name].seconds() / simclr.seconds()
    assert remaining(works, costs) == pytest.approx(expected)
    # One that has been trained is only to be judged: as long as the others were.
    for work in finished[1:]:
        outcome = json.loads((work.folder / "outcome.json").read_text())
        outcome["seconds"]["eval.py"] = 7.0
        (work.folder / "outcome.json").write_text(json.dumps(outcome))
    outcome = json.loads((finished[0].folder / "outcome.json").read_text()) | {
        "status": "trained",
        "judgements": [],
    }
    (finished[0].folder / "outcome.json").write_text(json.dumps(outcome))
    assert remaining(works, costs) == pytest.approx(expected + 7 + 7)
    (finished[0].folder / "outcome.json").write_text(json.dumps(outcome | {"status": "diverged"}))
    text = dry(works, plan.configs)
    assert text.count("done ") == 11
    assert "1 of 12 runs are missing" in text


def test_every_judgement_says_all_that_verdicts_are_compared_by():
    study = Study(
        tuple(runs("configs/digits/diet.py", seeds=1)), (), judgements=(Judgement(lidar="masking"),)
    )
    check_study(study, "name")
