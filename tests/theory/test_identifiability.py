"""Training on the simulated world: what is scored, that it rises, and what the command says."""

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from configs.theory import vmf
from tests import commands
from theory import identifiability as simulation
from theory.vmf import make_world

pytestmark = pytest.mark.usefixtures("quick_compilation")


def tiny(**changes):
    """A world with more overlap than the published ones, which is learnt in seconds."""
    config = vmf()
    config.update(
        {"dim": 3, "classes": 50, "instances": 100, "kappa": 5.0, "batch_size": 512} | changes
    )
    return config


@pytest.fixture(scope="module")
def world():
    return make_world(tiny())


@pytest.fixture(scope="module")
def latents(world):
    return simulation.draw(random.key(5), tiny(), world, 2000)[1]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few and narrow layers, which compile in a moment, and few latents to score."""
    monkeypatch.setattr(simulation, "SCORED", 1000)
    monkeypatch.setattr(simulation, "HIDDEN", (20, 20))


def test_the_regression_is_scikit_learns():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((200, 4)) + 1
    targets = inputs @ rng.standard_normal((4, 3)) + 2 + rng.standard_normal((200, 3))
    for intercept in (True, False):
        model = LinearRegression(fit_intercept=intercept).fit(inputs[:100], targets[:100])
        r2, solution = simulation.regress(inputs, targets, intercept=intercept)
        assert r2 == pytest.approx(
            100 * r2_score(targets[100:], model.predict(inputs[100:])), rel=1e-10
        )
        np.testing.assert_allclose(solution, model.coef_.T, rtol=1e-9)


def test_batchnorm_uses_the_batch_in_training_and_running_averages_in_scoring():
    params, stats = simulation.init_params(tiny())
    images = 3 * random.normal(random.key(0), (64, 3)) + 1
    in_training = jax.jit(partial(simulation.encode, params, train=True))
    in_scoring = jax.jit(partial(simulation.encode, params, train=False))
    trained, updated = in_training(stats, images)
    first = np.asarray(images @ params["hidden"][0]["weight"])
    np.testing.assert_allclose(updated[0][0], 0.1 * first.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updated[0][1], 0.9 + 0.1 * first.var(axis=0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(
        in_training(stats, 7 * images)[0], trained, atol=1e-2
    )  # the batch's own scale is gone
    for _ in range(100):
        _, stats = in_training(stats, images)
    np.testing.assert_allclose(
        in_scoring(stats, images)[0], trained, atol=0.1
    )  # a variance over 63, not 64
    assert float(jnp.abs(in_scoring(stats, 7 * images)[0] - trained).max()) > 1


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["free", "unit"])
def test_training_identifies_the_latents(rows, world, latents):
    config = tiny(rows=rows, steps=500, report_every=500, learning_rate=3e-3)
    before, after = (
        simulation.score(config, world, state, latents)
        for state, _ in simulation.train(config, world)
    )
    assert after["z R2 %"] > 85 > 65 > before["z R2 %"]
    assert after["v R2 %"] > 70 > 5 > before["v R2 %"]
    if rows == "unit":
        assert after["z rotation error"] < 0.15
        assert after["v rotation error"] < 0.25


def test_a_perfect_encoder_scores_100_and_is_a_rotation(monkeypatch, world, latents):
    config = tiny(rows="unit")
    turn = jnp.asarray(
        np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0], jnp.float32
    )
    monkeypatch.setattr(
        simulation, "encode", lambda params, stats, images, train: (5 * images @ turn, stats)
    )
    monkeypatch.setattr(simulation, "generate", lambda layers, latents: latents)
    rows = 4 * world.classes[jnp.arange(100) % 50] @ turn
    state = simulation.State(jnp.zeros(()), {"head": rows}, None, None)
    scores = simulation.score(config, world, state, latents)
    assert scores["z R2 %"] == pytest.approx(100)
    assert scores["v R2 %"] == pytest.approx(100)
    assert max(scores["z rotation error"], scores["v rotation error"]) < 1e-5


def test_training_reports_on_time(world, monkeypatch):
    def count(config, world, state, _):
        return state._replace(step=state.step + 1), state.step.astype(float)

    monkeypatch.setattr(simulation, "train_step", count)
    seen = [
        (int(state.step), loss)
        for state, loss in simulation.train(tiny(steps=7, report_every=3), world)
    ]
    assert seen[1:] == [(3, 1.0), (6, 4.0), (7, 6.0)]
    assert seen[0][0] == 0


def test_a_loss_that_is_not_finite_says_what_to_lower(world, monkeypatch):
    monkeypatch.setattr(simulation, "train_step", lambda config, world, state, _: (state, jnp.nan))
    with pytest.raises(
        ValueError, match=r"The loss is nan within .* steps\. Lower --config\.learning_rate"
    ):
        list(simulation.train(tiny(), world))


def test_published_scores_are_found_by_setting():
    config = vmf()
    assert simulation.published(config) == {"z R2 %": 99.0, "v R2 %": 99.9}
    config.rows = "unit"
    assert simulation.published(config) == {"z R2 %": 98.6, "v R2 %": 99.9}
    config.labels = True
    assert simulation.published(config) == {}
    config.rows = "free"
    assert simulation.published(config) == {"z R2 %": 99.8}
    config.kappa = 11.0
    assert simulation.published(config) == {}


def main(config, monkeypatch) -> int:
    """The command in this process."""
    monkeypatch.setattr(
        simulation.command, "read_config", lambda flag, example: (config, Path(example))
    )
    monkeypatch.setattr(simulation.command, "cache_compilations", lambda: None)
    return simulation.main(None)


def test_supervised_training_ends_with_a_comparison(monkeypatch, capsys):
    config = tiny(labels=True, steps=20, report_every=10)
    assert simulation.init_params(config)[0]["head"].shape == (50, 3)
    monkeypatch.setattr(simulation, "published", lambda config: {"z R2 %": 99.8})
    assert main(config, monkeypatch) == 0
    output = capsys.readouterr().out
    assert re.search(
        r"^step 10/20  loss \d\.\d+  z R2 % -?\d+\.\d+  \d+ ms/step  0 min left$",
        output,
        re.MULTILINE,
    )
    assert "after 20 steps, 1 seed      here  published (5 seeds, 50000 steps)" in output
    assert re.search(r"^z R2 % +-?\d+\.\d+  99\.8$", output, re.MULTILINE)
    assert "v R2" not in output


def test_ctrl_c_prints_the_scores_so_far(monkeypatch, capsys):
    def interrupted(config, world):
        yield next(train(config, world))
        raise KeyboardInterrupt

    train = simulation.train
    monkeypatch.setattr(simulation, "train", interrupted)
    assert main(tiny(), monkeypatch) == 130
    output = capsys.readouterr().out
    assert "interrupted; the scores so far:\nafter 0 steps" in output
    assert re.search(r"^v R2 % +-?\d+\.\d+  not published$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 1}, r"config\.dim is 1; it takes 2 or more, for example --config\.dim=5"),
        ({"classes": 1}, r"config\.classes is 1; it takes 2 or more"),
        (
            {"instances": 50},
            r"config\.instances is 50; it takes at least one for each of the 100 classes.*=1000",
        ),
        ({"instances": 13, "classes": 5}, r"config\.instances is 13; .* and 14 for the regression"),
        (
            {"kappa": 0.0},
            r"config\.kappa is 0\.0; it takes a number above 0, for example --config\.kappa=10",
        ),
        ({"kappa": float("nan")}, r"config\.kappa is nan"),
        (
            {"rows": "fixed"},
            r"config\.rows is 'fixed'; it takes free or unit, for example --config\.rows=free",
        ),
        (
            {"conditional": "cauchy"},
            r"config\.conditional is 'cauchy'; it takes vmf, laplace or normal",
        ),
        ({"steps": -1}, r"config\.steps is -1; it takes 0 or more"),
        ({"batch_size": 1}, r"config\.batch_size is 1; it takes 2 or more"),
        ({"learning_rate": 0.0}, r"config\.learning_rate is 0\.0; it takes a number above 0"),
        ({"report_every": 0}, r"config\.report_every is 0; it takes 1 or more"),
    ],
)
def test_a_setting_that_cannot_be_simulated_is_refused(change, message):
    config = vmf()
    config.update(change)
    with pytest.raises(ValueError, match=message):
        simulation.check(config)


def test_a_mistake_gets_one_line_and_exit_code_2(tmp_path):
    words = (
        "-m",
        "theory.identifiability",
        "--config=configs/theory.py:vmf",
        "--config.rows=fixed",
    )
    output = commands.run(tmp_path, *words, expect=2)
    assert output.startswith("error: config.rows is 'fixed'; it takes free or unit")
    assert output.count("\n") == 1
