import math
import random

import numpy as np
import pytest
from scipy import stats

from metrics import METRICS
from sslx.evaluation import selection
from sslx.evaluation.results import Record
from sslx.evaluation.selection import choose, explain, scores, swept
from sslx.evaluation.settings import Settings

NAN = float("nan")
SETTINGS = Settings(("lidar", "rankme"), ("linear",))
DATA = {"train": "digits/train abc", "test": "digits/test def"}


def record(run="run", step=100, config=None, data=DATA, settings=SETTINGS, **values):
    config = {"method.name": "vicreg", "seed": 0} | (config or {})
    values = {name.replace("__", "/"): value for name, value in values.items()}
    return Record(run, config["method.name"], config, data, step, True, values, settings, {}, [])


def of_lidar(lidars, accuracies=None, **more):
    """Runs a, b, c, ... with LiDAR and, where given, accuracies."""
    records = [
        record("abcdef"[i], 100, {"rate": i}, lidar__representation=x, **more)
        for i, x in enumerate(lidars)
    ]
    for each, accuracy in zip(records, accuracies or (), strict=accuracies is not None):
        each.values["linear"] = accuracy
    return records


def sweep(seeds=2):
    """Rates and areas around the centre (2, [0, 1]): LiDAR is right on rates, wrong on areas."""
    places = [(1, [0, 1]), (2, [0, 1]), (3, [0, 1]), (2, [0, 2]), (2, [0, 3])]
    numbers = [(10, 0.5), (20, 0.6), (30, 0.7), (50, 0.4), (60, 0.3)]
    return [
        record(
            f"rate={rate}-area={area[1]}-seed={seed}",
            config={
                "optimizer.rate": rate,
                "views.area": area,
                "seed": seed,
                "monitor.every": f"{seed} steps",
            },
            lidar__representation=rank + seed,
            rankme__representation=100 * accuracy + seed / 2,
            linear=accuracy + seed / 100,
        )
        for (rate, area), (rank, accuracy) in zip(places, numbers, strict=True)
        for seed in range(seeds)
    ]


def shuffled(records):
    return random.Random(0).sample(records, len(records))


@pytest.mark.parametrize(
    "metric", ["lidar", "debiased_lidar", "rankme", "augmented_rankme", "participation_ratio"]
)
def test_of_ranks_the_highest_is_best(metric):
    records = [record(**{f"{metric}/representation": value}) for value in (1, 3, 2)]
    assert (
        scores(records, metric).tolist()
        == scores(records, f"{metric}/representation").tolist()
        == [1, 3, 2]
    )


@pytest.mark.parametrize(
    "metric", ["idest", "uniformity", "alignment", "self_clustering", "mean_cosine"]
)
def test_of_distances_and_similarities_the_lowest_is_best(metric):
    records = [record(**{f"{metric}/representation": value}) for value in (0.3, -0.1, 0.2)]
    assert scores(records, metric).tolist() == [-0.3, 0.1, -0.2]


def test_of_alpha_req_the_nearest_to_1_is_best():
    records = [record(alpha_req__embedding=alpha) for alpha in (0.75, 1.0, 1.5)]
    assert scores(records, "alpha_req/embedding").tolist() == [-0.25, 0.0, -0.5]


def test_clid_adds_what_it_has_standardised_over_the_records():
    parts = np.array([[0.5, 0.7, 0.9, NAN], [10.0, 30.0, 14.0, 5.0]])
    records = [
        record(clid__learnability__representation=a, clid__dimension__representation=b)
        for a, b in parts.T
    ]
    expected = stats.zscore(parts[0], nan_policy="omit") + stats.zscore(parts[1])
    np.testing.assert_allclose(scores(records, "clid"), expected, rtol=1e-12)
    assert selection.candidates(records) == ["clid/representation"]
    assert choose(records, "clid").pick is records[1]  # -1.73, 1.64 and 1.14
    same = [
        record(clid__learnability__representation=0.1, clid__dimension__representation=b)
        for b in (1.0, 2.0)
    ]
    assert scores(same, "clid").tolist() == [-1.0, 1.0]  # a constant half says nothing
    fifty = [
        record(clid__learnability__representation=i, clid__dimension__representation=i**1.7)
        for i in range(50)
    ]
    # To the last digit.
    assert sorted(scores(shuffled(fifty), "clid")) == sorted(scores(fifty, "clid"))


def test_candidates_are_what_can_pick_in_a_stable_order():
    columns = ["linear", "feature_std/representation", "idest/representation", "rankme/embedding"]
    columns += ["rankme/representation", "lidar/embedding", "intrinsic_dimension/representation"]
    records = [record(**dict.fromkeys(columns[i::2], 1.0)) for i in range(2)]
    wanted = ["lidar/embedding", "rankme/representation", "rankme/embedding"]
    wanted += ["idest/representation"]
    assert selection.candidates(records) == selection.candidates(records[::-1]) == wanted
    assert [name for name in METRICS if METRICS[name].better] == selection.PICKING


def test_regret_is_what_the_oracle_has_more():
    records = of_lidar([3.0, 9.0, 5.0], [0.9, 0.7, 0.8])
    choice = choose(records, "lidar")
    assert choice.metric == "lidar/representation"
    assert (choice.pick, choice.oracle) == (records[1], records[0])
    assert (choice.accuracy, choice.regret) == (0.7, pytest.approx(0.2))
    assert choose(records, "lidar", target="knn")[2:4] == pytest.approx((NAN, None), nan_ok=True)


def test_ties_go_to_the_first_run_and_step_in_any_order():
    records = [
        record(run, step, lidar__representation=5.0, linear=0.5) for run in "ba" for step in (20, 3)
    ]
    for found in (records, records[::-1], shuffled(records)):
        choice = choose(found, "lidar")
        assert [(r.run, r.step) for r in (choice.pick, choice.oracle)] == [("a", 3), ("a", 3)]


def test_an_undefined_score_never_wins_and_an_unlabelled_pick_has_no_regret():
    records = of_lidar([NAN, 1.0, math.inf, 2.0], [0.9, 0.8, 0.5, NAN])
    choice = choose(records, "lidar")
    assert (choice.pick.run, choice.oracle.run) == ("d", "a")
    assert math.isnan(choice.accuracy)
    assert math.isnan(choice.regret)
    with pytest.raises(
        ValueError,
        match="lidar/representation has no value for any of 1 checkpoints, so it picks none",
    ):
        choose(records[:1], "lidar")


def test_there_is_a_choice_for_each_seed():
    found = selection.choices_by_seed(shuffled(sweep(3)), "lidar")
    assert [choice.pick.run for choice in found] == [
        f"rate=2-area=3-seed={seed}" for seed in range(3)
    ]
    assert [choice.regret for choice in found] == pytest.approx([0.4] * 3)
    undefined = [
        r._replace(values={"lidar/representation": NAN}) if r.config["seed"] else r
        for r in sweep(2)
    ]
    assert len(selection.choices_by_seed(undefined, "lidar")) == 1


def test_axes_are_what_differs_from_the_centre_in_one_field():
    records = shuffled(sweep())
    axes = swept(records)
    assert list(axes) == ["all", "rate", "area"]
    assert axes["all"] == records
    assert {r.config["optimizer.rate"] for r in axes["rate"]} == {1, 2, 3}
    assert all(r.config["views.area"] == [0, 1] for r in axes["rate"])
    assert {tuple(r.config["views.area"]) for r in axes["area"]} == {(0, 1), (0, 2), (0, 3)}
    assert (len(axes["rate"]), len(axes["area"])) == (6, 6)


def test_seeds_do_not_move_the_centre():
    records = sweep(1) + [r for r in sweep(30) if r.run.startswith("rate=2-area=3")]
    assert len({r.run for r in swept(records)["rate"]}) == 3


def test_a_random_search_has_no_axis_and_a_grid_one_line_for_each():
    rng = np.random.default_rng(0)
    found = [record(config={"rate": x, "decay": y}) for x, y in rng.random((9, 2)).tolist()]
    assert list(swept(found)) == ["all"]
    grid = [record(config={"rate": x, "decay": y}) for x in range(3) for y in range(4)]
    assert {name: len(part) for name, part in swept(grid).items()} == {
        "all": 12,
        "decay": 4,
        "rate": 3,
    }


def test_fields_of_different_methods_are_no_axis():
    first = [record(config={"rate": x, "method.covariance": 1.0}) for x in range(3)]
    other = [
        record(config={"method.name": "simclr", "rate": x, "method.temperature": 0.1})
        for x in range(2)
    ]
    assert {name: len(part) for name, part in swept(first + other).items()} == {"all": 5, "rate": 3}
    assert list(swept(first[:2])) == ["all"]  # two values are no axis


def test_axes_of_one_last_name_are_called_by_the_whole_field():
    values = [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]
    found = swept([record(config={"optimizer.final": a, "views.final": b}) for a, b in values])
    assert list(found) == ["all", "optimizer.final", "views.final"]


def test_correlations_are_scipys():
    records = sweep()
    x, y = ([r.values[name] for r in records] for name in ("lidar/representation", "linear"))
    rho, tau = selection.correlate(records, "lidar")
    assert rho.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert (
        selection.correlate([r for r in records if r.config["optimizer.rate"] == 1], "lidar")[
            0
        ].points
        == 2
    )


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [],
            "There is no evaluated checkpoint to choose from. Evaluate runs first: python eval.py "
            "--run=RUN",
        ),
        (
            [*of_lidar([1, 2, 3, 4, 5]), record("z", data={"train": "mnist5k/train 12"})],
            "Selection across data sets means nothing, but the train images differ: digits/train "
            "abc (a, b, c and 2 "
            "more); mnist5k/train 12 (z). Name runs of one data set in --runs.",
        ),
        (
            [*of_lidar([1, 2]), record("z", settings=SETTINGS._replace(lidar_images=50))],
            "Only numbers of equal settings compare, but lidar_images differs: 1000 (a, b); 50 "
            "(z). Evaluate all runs again with the same --lidar_images.",
        ),
        (
            [*of_lidar([1, 2]), record("z", settings=SETTINGS._replace(features_of="target"))],
            "Only numbers of equal settings compare, but features_of differs: not given (a, b); "
            "target (z). Evaluate all runs again with the same --features_of.",
        ),
    ],
)
def test_what_does_not_compare_is_refused(records, message):
    with pytest.raises(ValueError, match=".") as error:
        selection.check_comparable(records)
    assert str(error.value) == message


@pytest.mark.parametrize("split", ["probe", "test"])
def test_runs_with_other_probes_do_not_compare(split):
    with pytest.raises(ValueError, match=f"the {split} images differ: .*new 9 \\(b\\)"):
        selection.check_comparable([record("a"), record("b", data=DATA | {split: "new 9"})])


def test_checkpoints_of_one_run_and_other_metrics_compare():
    other = record("b", settings=SETTINGS._replace(metrics=("rankme",), probes=()))
    selection.check_comparable([record("a", 1), record("a", 2), other])
    without_test = record("a", data={"train": DATA["train"]})
    selection.check_comparable([without_test, record("b")])


@pytest.mark.parametrize(
    ("select", "message"),
    [
        (
            "lidra/embedding",
            "there is no metric lidra. Did you mean 'lidar'?",
        ),
        ("xyz", "there is no metric xyz."),
        (
            "idest",
            "idest was not measured. Measure it with --metrics=rankme,feature_std,lidar,idest.",
        ),
        ("feature_std", "feature_std does not tell which run is better."),
    ],
)
def test_a_metric_that_cannot_pick_is_refused(select, message):
    with pytest.raises(ValueError, match=".") as error:
        selection.check_metric(select, ["rankme", "feature_std", "lidar"])
    assert str(error.value) == f"--select={select}: {message} Measured here: lidar, rankme."


def test_scores_of_what_has_no_direction_are_refused():
    with pytest.raises(
        ValueError, match="feature_std is not a metric that picks; those are lidar, "
    ):
        scores([record(feature_std__representation=1.0)], "feature_std")


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_the_explanation_says_what_is_picked_and_what_it_costs():
    text = explain(sweep(), "lidar")
    assert text.splitlines()[0] == (
        "lidar/representation picks rate=2-area=3-seed=1, step 100, where it is 61. Its linear "
        "accuracy is 31.0 %; "
        "the oracle, rate=3-area=1-seed=1, step 100, has 71.0 %: a regret of 40.0 points."
    )
    rows = rows_of(text)
    lidar, rankme = rows["lidar/representation"], rows["rankme/representation"]
    assert list(lidar)[:6] == ["metric", "pick", "step", "linear %", "regret", "regret by seed"]
    assert list(lidar)[6:] == [
        f"{name}, {axis}" for axis in ("all", "rate", "area") for name in ("Spearman", "tau-b")
    ]
    assert list(lidar.values())[1:6] == [
        "rate=2-area=3-seed=1",
        "100",
        "31.0",
        "40.0",
        "40.0 +- 0.0",
    ]
    assert [lidar["Spearman, rate"], rankme["regret"]] == ["+1.00 [+1.00, +1.00]", "0.0"]
    assert lidar["tau-b, area"].startswith("-0.60 [")  # of 15 pairs 3 of seeds agree, 12 do not
    assert "- runs: 10, configurations: 5, checkpoints: 10, seeds: 2; untrained" in text
    assert "- rate: runs: 6, configurations: 3, checkpoints: 6, seeds: 2." in text
    assert "mixed" not in text
    assert explain(shuffled(sweep()), "lidar") == text


def test_the_explanation_without_labels():
    column = "lidar/representation"
    text = explain([r._replace(values={column: r.values[column]}) for r in sweep()], "lidar")
    assert (
        "seed=1, step 100, where it is 61. Without labels its accuracy and regret are not known."
        in text
    )
    row = rows_of(text)[column]
    assert list(row) == ["metric", "pick", "step", "linear %", "regret", "regret by seed"]
    assert list(row.values())[1:] == ["rate=2-area=3-seed=1", "100", *["no labels"] * 3]
    assert "evaluated without --probe=linear: the picks need none" in text


def test_the_explanation_says_why_numbers_are_missing():
    records = of_lidar([1.0, 2.0], [0.5, 0.6], rankme__representation=NAN)
    row = rows_of(explain(records, "lidar"))
    assert row["lidar/representation"]["Spearman, all"] == "needs 3 runs"
    assert row["rankme/representation"]["pick"] == "undefined"
    assert row["rankme/representation"]["tau-b, all"] == "needs 3 runs"
    assert "regret by seed" not in row["lidar/representation"]
    constant = of_lidar([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    assert rows_of(explain(constant, "lidar"))["lidar/representation"]["tau-b, all"] == "constant"
    partly = of_lidar([1.0, 2.0, 3.0, NAN], [0.5, 0.6, NAN, 0.4])
    text = explain(partly, "lidar")
    assert (
        "picks c, step 100, where it is 3. It has no linear accuracy; the oracle, b, step 100, has "
        "60.0 %." in text
    )
    assert "- lidar/representation is undefined or missing for 1 of 4 checkpoints." in text
    assert "- linear is undefined or missing for 1 of 4 checkpoints." in text
    assert rows_of(text)["lidar/representation"]["linear %"] == "n/a"


def test_checkpoints_of_one_run_have_a_correlation_without_an_interval():
    steps = [
        record("a", step, lidar__representation=step, linear=step / 100) for step in (0, 10, 20, 30)
    ]
    steps[0].values["lidar/representation"] = 99.0  # untrained, so it takes no part
    text = explain(steps, "lidar")
    assert text.startswith("lidar/representation picks a, step 30, where it is 30.")
    assert rows_of(text)["lidar/representation"]["Spearman, all"] == "+1.00"


def test_the_explanation_warns_of_mixed_methods_and_says_how_metrics_pick():
    records = of_lidar(
        [1.0, 2.0, 3.0], [0.1, 0.2, 0.3], idest__representation=3.0, alpha_req__representation=2.0
    )
    records[0].config["method.name"] = "simclr"
    text = explain(records, "lidar")
    assert (
        "Methods are mixed (simclr, vicreg): views, and so LiDAR, differ between methods." in text
    )
    assert "- alpha_req: by -|alpha - 1|.\n- idest: the lowest picks.\n" in text


def test_the_explanation_refuses_a_layer_that_was_not_measured():
    with pytest.raises(
        ValueError, match="lidar/embedding has no value for any .* Choose from lidar/rep"
    ):
        explain(sweep(), "lidar/embedding")
    with pytest.raises(ValueError, match="idest/representation has no value for any .* lidar/rep"):
        explain(sweep(), "idest")
    with pytest.raises(ValueError, match="There is no evaluated checkpoint"):
        explain([record(step=0, lidar__representation=1.0)], "lidar")
