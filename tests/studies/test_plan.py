"""A study's mistakes are found before its first run; and what it costs, without any training."""

import json

import pytest

from sslx.studies.estimate import ONE_CORE, ONE_GPU, costs_of, dry, images_of, remaining
from sslx.studies.evidence import gather
from sslx.studies.plan import config_of, evaluation_words, load_plan, works_of
from sslx.studies.runner import read_outcome
from sslx.studies.study import Run, Study, evaluation, runs
from tests.studies import fabricated

GOOD = """
from sslx.studies.study import Study, evaluation, runs
def get_study(scale):
    found = runs("configs/digits.py:simclr", {"optimizer.learning_rate": 0.1}, seeds=2)
    return Study(tuple(found), ("accuracy",), evaluations=(evaluation(lidar="200x4"),))
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
        "--config=configs/digits.py:simclr",
        "--config.optimizer.learning_rate=0.1",
        "--config.seed=0",
        f"--run={folder}",
    )
    assert first.evaluations == (
        (
            "eval.py",
            "--missing",
            "--nopixels",
            "--checkpoint=all",
            "--metrics=lidar,debiased_lidar,rankme,augmented_rankme,alpha_req",
            "--probe=linear,knn",
            "--protocol=lbfgs",
            "--images=10000",
            "--lidar=200x4",
            "--lidar_delta=0.0001",
        ),
    )
    assert second.name.endswith("seed=1")


def test_a_program_of_the_theory_is_a_run_too(tmp_path):
    run = Run(
        "free",
        "configs/theory.py:vmf",
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
        "--config=configs/theory.py:vmf",
        "--config.rows=free",
        "--config.seed=1",
    )
    assert one.evaluations == ()
    assert gather(plan).facts["toy"].status == "missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("0.1}", "0.1}, {'optimizer.learning_rate': 0.1}"),
            "several runs called digits-simclr-learning",
        ),
        (
            GOOD.replace("digits.py", "digit.py"),
            "recipe configs/digit.py, which does not exist",
        ),
        (
            GOOD.replace(":simclr", ":simlcr"),
            "no recipe configs/digits.py:simlcr. Did you mean 'simclr'",
        ),
        (
            GOOD.replace("learning_rate", "lerning_rate"),
            r"Did you mean 'optimizer.learning_rate'\?",
        ),
        (GOOD.replace("0.1}", "'fast'}"), "digits-simclr-learning_rate=fast-seed=0: "),
        (
            GOOD.replace('lidar="200x4"', 'metrics=("lidra",)'),
            "good-desk, evaluation main: --metrics .* 'lidra'; it takes lidar, ",
        ),
        (
            GOOD.replace('lidar="200x4"', 'probes=("svm",)'),
            "--probe .* 'svm'; it takes linear, knn",
        ),
        (
            GOOD.replace('lidar="200x4"', 'probe=("knn",)'),
            "unexpected field names: .'probe'.",
        ),
        (
            GOOD.replace('lidar="200x4"', "seed=1"),
            "seed, for which eval.py has no flag, is 1; it takes 0",
        ),
        (GOOD.replace('lidar="200x4"', 'protocol="moco"'), "--protocol .* 'moco'"),
        (GOOD.replace("200x4", "many"), "--lidar is 'many'; it takes n x q such as 1000x50"),
        (
            GOOD.replace('("accuracy",)', '("acuracy",)'),
            "table of good-desk is 'acuracy'; it takes accuracy, ",
        ),
        (
            GOOD.replace('("accuracy",)', '(), ("spectrum",)'),
            "figure of good-desk is 'spectrum'; it takes metric_against_probe",
        ),
        (GOOD.replace("seeds=2", "seeds=0"), "has no runs"),
        ("x = 1", "is not a study: it has no function get_study"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(good, tmp_path, text, message):
    good.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_plan(f"{good}:desk", tmp_path)


def test_a_study_that_does_not_exist_names_the_nearest(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"no study 'configs/studies/lidar_vicerg.py'. Did you mean '.*lidar_vicreg.py'",
    ):
        load_plan("configs/studies/lidar_vicerg.py", tmp_path)
    with pytest.raises(ValueError, match="The scale, .* is 'pocket'; it takes desk, paper"):
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
    """A ResNet-50 at 224 pixels takes 4.1 billion multiply-adds forward, thrice that in all."""
    changes = {"duration": "100 steps", "batch_size": 8, "optimizer.warmup": "0 steps"}
    run = runs("configs/imagenet.py:simclr", changes, seeds=1)[0]
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
        "configs/mnist5k.py:sdiet",
        {"method.rows": "host"},
        {"optimizer.learning_rate": 1.0},
        seeds=2,
    )
    found += runs(
        "configs/digits.py:simclr", {"devices": 1, "data.train_split": "train[:50%]"}, seeds=1
    )
    costs = costs_of({run.name: config_of(run) for run in found})
    assert len(traced) == 3
    assert next(iter(costs.values())).steps == 60 * 31
    half = config_of(found[-1])
    assert images_of(half) == (round(1437 / 2), (8, 8, 1))
    assert costs[found[-1].name].speed == ONE_CORE
    half.data.name = "folder:somewhere"
    assert costs_of({"a": half}) == {}


def test_s_diet_with_rows_on_the_host_can_be_estimated():
    run = runs("configs/digits.py:sdiet", {"method.rows": "host"}, seeds=1)[0]
    assert costs_of({"a": config_of(run)})["a"].operations > 1e9


def write_outcome(work, **changes):
    outcome = read_outcome(work.folder)._replace(**changes)
    (work.folder / "outcome.json").write_text(json.dumps(outcome._asdict()))


def test_what_is_left_follows_the_runs_that_have_ended(tmp_path, monkeypatch):
    from sslx.studies import estimate

    monkeypatch.setattr(estimate, "step_operations", lambda *given: 1e9)
    plan = fabricated.write(tmp_path)
    works, costs = works_of(plan), costs_of(plan.configs)
    finished = [work for work in works if (work.folder / "outcome.json").exists()]
    (left,) = (work for work in works if work not in finished)
    # Ten runs took 60 seconds each and one diverged. One is missing, of another recipe: what was
    # estimated for it counts as many times as for the others.
    for work in finished:
        write_outcome(work, evaluations=tuple(" ".join(words) for words in work.evaluations))
    first, *others = finished
    expected = 60 * costs[left.name].seconds() / costs[first.name].seconds()
    assert remaining(works, costs) == pytest.approx(expected)
    # One that has been trained is only to be evaluated, as long as the others were.
    for work in others:
        write_outcome(work, seconds={"train": 60.0, "eval.py": 7.0})
    write_outcome(first, status="trained", evaluations=())
    assert remaining(works, costs) == pytest.approx(expected + 7 + 7)
    write_outcome(first, status="diverged")
    text = dry(works, plan.configs)
    assert text.count("done ") == 11
    assert "1 of 12 runs are missing" in text


def test_every_setting_becomes_a_word():
    main = evaluation(lidar="masking", probe_data="digits", features_of="teacher", pool="mean")
    words = evaluation_words(main)
    for word in ("--lidar=1000x50", "--probe_data=digits", "--features_of=teacher", "--pool=mean"):
        assert word in words
