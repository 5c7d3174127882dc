"""Linear probes against scikit-learn and a plain loop, their selection rules and their errors."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslx.evaluation import linear_probe as probes
from sslx.evaluation.knn import Labelled
from sslx.evaluation.linear_probe import PROTOCOLS, ProbeResult, held_out_rows


@pytest.fixture(scope="module")
def digits():
    features, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    features, labels = (features[order] / 16).astype(np.float32), labels[order]
    return features[:1437], labels[:1437], features[1437:], labels[1437:]


def linear_probe(train, labels, test, test_labels, **options) -> ProbeResult:
    return probes.linear_probe(Labelled(train, labels), Labelled(test, test_labels), **options)


def blobs(n: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(0).standard_normal((3, 8))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (centres[labels] + spread * rng.standard_normal((n, 8))).astype(np.float32), labels


def test_logistic_regression_agrees_with_scikit_learn(digits):
    train, labels, test, test_labels = digits
    result = linear_probe(*digits, protocol="lbfgs")
    scaler = StandardScaler().fit(train)

    def accuracy(l2: float) -> float:
        model = LogisticRegression(C=1 / (l2 * len(train)), max_iter=2000, tol=1e-6)
        return model.fit(scaler.transform(train), labels).score(scaler.transform(test), test_labels)

    assert result.accuracy == pytest.approx(accuracy(result.selected["l2"]), abs=0.005)
    assert result.nominal_accuracy == pytest.approx(accuracy(1e-3), abs=0.005)
    held_out = held_out_rows(labels)
    scaler.fit(train[~held_out])
    model = LogisticRegression(C=1 / (result.selected["l2"] * (~held_out).sum()), max_iter=2000)
    model.fit(scaler.transform(train[~held_out]), labels[~held_out])
    expected = model.score(scaler.transform(train[held_out]), labels[held_out])
    assert result.validation_accuracy == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("protocol", ["lidar", "diet"])
def test_adam_protocols_learn_and_select_on_held_out_rows(digits, protocol):
    result = linear_probe(*digits, protocol=protocol)
    assert result.accuracy > 0.95
    assert 0.88 < result.nominal_accuracy <= result.accuracy
    assert "batch 256" in PROTOCOLS[protocol].description
    accuracies = [row["validation_accuracy"] for row in result.grid]
    assert len(accuracies) == 15
    assert result.validation_accuracy == max(accuracies)
    chosen = next(row for row in result.grid if row["validation_accuracy"] == max(accuracies))
    assert result.selected == {name: chosen[name] for name in ("learning_rate", "weight_decay")}
    assert min(accuracies) < result.validation_accuracy - 0.05
    # The rates span 100 x around the nominal one, and the first row is the nominal setting.
    rates = sorted({row["learning_rate"] for row in result.grid})
    nominal = PROTOCOLS[protocol].learning_rate
    np.testing.assert_allclose(rates, nominal * np.array([0.1, 0.3, 1, 3, 10]))
    assert result.grid[0]["learning_rate"] == nominal


def test_test_rows_do_not_influence_the_choice(digits):
    train, labels, test, test_labels = digits
    result = linear_probe(train, labels, test, test_labels)
    other = linear_probe(train, labels, test, (test_labels + 1) % 10)
    assert other.accuracy < 0.1
    assert (other.selected, other.grid) == (result.selected, result.grid)


def test_seed_alone_decides():
    data = *blobs(60, seed=1, spread=2.0), *blobs(60, seed=2, spread=2.0)
    first, again, other = (linear_probe(*data, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def plain_adamw(recipe, features, targets, first, rate, penalty, orders):
    """AdamW as a Python loop over batches, in float64."""
    weights, bias = first.astype(np.float64), np.zeros(first.shape[1])
    moments, count = [[np.zeros_like(p), np.zeros_like(p)] for p in (weights, bias)], 0
    for epoch in range(recipe.epochs):
        step_size = rate * 0.1 ** sum(
            epoch >= fraction * recipe.epochs for fraction in recipe.drops
        )
        for start in range(0, len(features), recipe.batch_size):
            rows, count = orders[epoch][start : start + recipe.batch_size], count + 1
            logits = features[rows] @ weights + bias
            p = np.exp(logits - logits.max(1, keepdims=True))
            errors = (p / p.sum(1, keepdims=True) - np.eye(len(bias))[targets[rows]]) / len(rows)
            for value, gradient, m in zip(
                (weights, bias), (features[rows].T @ errors, errors.sum(0)), moments, strict=True
            ):
                m[0] = 0.9 * m[0] + 0.1 * gradient
                m[1] = 0.999 * m[1] + 0.001 * gradient**2
                step = m[0] / (1 - 0.9**count) / (np.sqrt(m[1] / (1 - 0.999**count)) + 1e-8)
                value -= step_size * (step + penalty * value)
    return weights, bias


def test_vmapped_training_equals_a_loop_over_batches(monkeypatch):
    recipe = probes.Protocol("small", (0.0,), epochs=4, drops=(0.5, 0.75), batch_size=32)
    features, targets = blobs(75, seed=1)
    first = np.random.default_rng(2).normal(0, 0.01, (8, 3)).astype(np.float32)
    # An order that NumPy can follow: every epoch reads the rows backwards.
    monkeypatch.setattr(probes.jax.random, "permutation", lambda key, n: probes.jnp.arange(n)[::-1])
    rates, penalties = np.array([0.02, 0.1], np.float32), np.array([0.0, 0.3], np.float32)
    rows = Labelled(features, targets.astype(np.int32))
    heads = probes._train_with_adam(recipe, first, rows, np.stack([rates, penalties], axis=1), 0)
    orders = [np.arange(75)[::-1]] * 4
    for index in range(2):
        weights, bias = plain_adamw(
            recipe, features, targets, first, rates[index], penalties[index], orders
        )
        np.testing.assert_allclose(heads.weights[index], weights, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(heads.bias[index], bias, rtol=1e-3, atol=1e-5)


def test_logistic_regression_minimises_the_stated_loss():
    features, targets = blobs(60, seed=1)
    weights = np.full(60, 1 / 45, np.float32) * (np.arange(60) < 45)
    rows = Labelled(features, targets.astype(np.int32))
    head = probes._train_with_lbfgs((8, 3), rows, weights, 0.01)
    model = LogisticRegression(C=1 / (0.01 * 45), tol=1e-9, max_iter=1000)
    model.fit(features[:45].astype(float), targets[:45])
    np.testing.assert_allclose(head.weights, model.coef_.T, atol=2e-3)
    probabilities = probes.jax.nn.softmax(probes._logits(head, features))
    np.testing.assert_allclose(
        probabilities, model.predict_proba(features.astype(float)), atol=1e-3
    )


def test_held_out_rows_are_a_fixed_stratified_fifth():
    targets = np.repeat([0, 1, 2, 3], [100, 11, 2, 1])
    mask = held_out_rows(targets)
    assert [int(mask[targets == index].sum()) for index in range(4)] == [20, 2, 1, 0]
    np.testing.assert_array_equal(mask, held_out_rows(targets))
    assert not mask[:100][:20].all()


@pytest.mark.parametrize("protocol", ["lidar", "lbfgs"])
def test_ties_go_to_the_nominal_setting(protocol):
    features, labels = blobs(60, seed=1, spread=0.0)
    result = linear_probe(20 * features, labels, 20 * features, labels, protocol=protocol)
    assert [row["validation_accuracy"] for row in result.grid].count(1.0) > 1
    assert result.selected == {name: result.grid[0][name] for name in result.selected}
    assert result.accuracy == result.nominal_accuracy == result.validation_accuracy == 1


def test_grid_runs_from_nominal_to_extreme():
    settings = probes.Protocol("", penalties=(0.01, 0.0), learning_rate=1e-3).grid
    assert settings[0] == (1e-3, 0.01)
    assert {setting[0] for setting in settings[-2:]} == {1e-4, 1e-2}
    assert len(set(settings)) == 10


def test_labels_may_have_gaps_and_unseen_ones_count_as_wrong():
    features, labels = blobs(60, seed=1, spread=0.1)
    renamed = np.array([-5, 17, 1000])[labels]
    unseen = renamed.copy()
    unseen[:15] = 18
    assert linear_probe(features, renamed, features, renamed, protocol="lbfgs").accuracy == 1
    assert linear_probe(features, renamed, features, unseen, protocol="lbfgs").accuracy == 0.75


def test_constant_features_do_not_disturb_logistic_regression():
    features, labels = blobs(60, seed=1, spread=0.1)
    features[:, 6:] = 0.1
    shifted = features + np.float32(1e-4) * (np.arange(8) == 7)
    assert linear_probe(features, labels, shifted, labels, protocol="lbfgs").accuracy == 1


def test_divergence_is_an_error_and_not_a_number(monkeypatch):
    features, labels = blobs(60, seed=1, spread=0.1)
    recipe = probes.Protocol("", (0.0,), learning_rate=1e38, rate_factors=(1.0, 1e-12), epochs=20)
    monkeypatch.setitem(PROTOCOLS, "wild", recipe)
    with pytest.warns(UserWarning, match="a setting diverged and its accuracy counts as 0"):
        result = linear_probe(features, labels, features, labels, protocol="wild")
    assert [row["diverged"] for row in result.grid] == [True, False]
    assert result.nominal_accuracy == 0
    assert result.accuracy > 0.5
    with pytest.raises(ValueError, match="Every setting.*'wild' diverged.*protocol='lbfgs'"):
        linear_probe(1e14 * features, labels, features, labels, protocol="wild")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "sgd"}, "protocol is 'sgd'; it takes lidar, diet, lbfgs"),
        ({"train": np.full((6, 2), np.inf)}, "train features must be finite"),
        ({"test": np.ones((6, 3))}, "width 3.*width 2"),
        ({"labels": np.zeros(6, int)}, "2 classes or more, but 6 training rows have 1"),
        ({"labels": np.arange(6)}, "6 classes has only 1 training row.*at least 2 rows"),
        ({"labels": np.zeros(6)}, "train labels must be one integer.*float64"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    features, labels = np.ones((6, 2)), np.arange(6) % 2
    arguments = {"train": features, "labels": labels, "test": features, "test_labels": labels}
    with pytest.raises(ValueError, match=message):
        linear_probe(**arguments | change)
