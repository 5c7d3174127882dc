import math

import matplotlib.text
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from sslx.evaluation.results import Record
from sslx.evaluation.settings import Settings
from sslx.studies import figures
from sslx.studies.evidence import Evidence, Facts
from sslx.studies.figures import save
from sslx.studies.study import Study, evaluation

RANK, ALPHA = "lidar/representation", "alpha_req/representation"
BASE = {"optimizer.learning_rate": 0.1, "optimizer.weight_decay": 0.0}
SWEEP = [
    BASE,
    *(BASE | {"optimizer.learning_rate": value} for value in (0.01, 1.0)),
    *(BASE | {"optimizer.weight_decay": value} for value in (0.1, 1.0)),
]


STUDY = Study((), (), evaluations=(evaluation()._replace(settings=Settings()),))


def evidence(records):
    """The records and their runs, of which an epoch has ten steps."""
    return Evidence(list(records), {each.run: Facts(each.row, images=100) for each in records})


def metric_against_probe(records, metrics):
    return figures.metric_against_probe(STUDY, evidence(records), metrics)


def over_training(records, metrics):
    return figures.over_training(STUDY, evidence(records), metrics)


def spectra(records):
    return figures.spectra(STUDY, evidence(records))


def accuracy_over_epochs(records):
    return figures.accuracy_over_epochs(STUDY, evidence(records))


def record(
    row="vicreg", config=BASE, seed=0, step=20, data="digits/train 0123abcd", labels=True, **values
):
    name = "-".join(map(str, (row, data, *config.values(), seed)))
    rng = np.random.default_rng(sum(map(ord, f"{name}{step}")))
    found = {RANK: rng.uniform(1, 9), ALPHA: rng.uniform(0.5, 2)} | (
        {"linear": rng.uniform(0.5, 1)} if labels else {}
    )
    spectrum = np.exp(-np.arange(6) * rng.uniform(0.1, 1)).tolist()
    return Record(
        name,
        row,
        config | {"seed": seed, "batch_size": 10},
        {"train": data},
        step,
        step == 20,
        found | values,
        Settings(),
        {},
        spectrum,
    )


def sweep(row="vicreg", seeds=2, **options):
    return [record(row, config, seed, **options) for config in SWEEP for seed in range(seeds)]


def points(axes):
    return np.concatenate([np.asarray(marks.get_offsets()) for marks in axes.collections])


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def thick(axes):
    return [line for line in axes.lines if line.get_linewidth() > 1]


def test_each_finished_run_is_a_point_against_the_probe():
    records = [*sweep(), *sweep("ijepa"), *sweep(step=10)]
    figure = metric_against_probe(records, [RANK, ALPHA])
    assert len(figure.axes) == 4
    x, y = points(figure.axes[0]).T
    expected = sorted((found.values[RANK], 100 * found.values["linear"]) for found in sweep())
    np.testing.assert_allclose(sorted(zip(x, y, strict=True)), expected)
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["learning_rate", "weight_decay", "centre", "seed 0", "seed 1"]
    colours = {
        tuple(marks.get_facecolor()[0]): len(marks.get_offsets())
        for marks in figure.axes[0].collections
    }
    assert sorted(colours.values()) == [1, 2, 2]  # by seed, the centre and each field


def test_the_correlation_in_the_title_is_that_of_the_scores_of_runs_that_have_both():
    records = sweep()
    records[3] = record(config=SWEEP[1], seed=1, **{RANK: math.nan})
    figure = metric_against_probe(records, [RANK, ALPHA])
    known = [found.values for found in records if math.isfinite(found.values[RANK])]
    rho = stats.spearmanr(
        [found[RANK] for found in known], [found["linear"] for found in known]
    ).statistic
    assert figure.axes[0].get_title() == f"Spearman rho {rho:+.2f}, 9 of 10 runs"
    assert len(points(figure.axes[0])) == 9
    every = [found.values for found in records]
    rho = stats.spearmanr(
        [-abs(found[ALPHA] - 1) for found in every], [found["linear"] for found in every]
    ).statistic
    assert figure.axes[1].get_title() == f"Spearman rho {rho:+.2f}, 10 runs"


def test_clid_is_drawn_by_its_score():
    parts = ("clid/learnability/representation", "clid/dimension/representation")
    records = [
        found._replace(values=found.values | dict.fromkeys(parts, i))
        for i, found in enumerate(sweep())
    ]
    (axes,) = metric_against_probe(records, ["clid/representation"]).axes
    np.testing.assert_allclose(sorted(points(axes)[:, 0]), 2 * stats.zscore(np.arange(10)))


def test_what_is_missing_is_written_there():
    assert "no labels" in texts(metric_against_probe(sweep(labels=False), [RANK]))
    assert "not measured" in texts(metric_against_probe(sweep(), ["rankme/embedding"]))
    assert "undefined, 1 run" in texts(metric_against_probe([record()], [RANK]))
    assert "no labels" in texts(over_training([record(labels=False)], [RANK]))
    assert "not measured" in texts(over_training([record()], ["rankme/embedding"]))
    assert "no labels" in texts(spectra(sweep(labels=False)))
    assert "no labels" in texts(accuracy_over_epochs([record(labels=False)]))
    for figure in (
        metric_against_probe([record(step=10)], [RANK]),
        over_training([], [RANK]),
        spectra([]),
        figures.regret(STUDY, evidence([])),
    ):
        assert "nothing was evaluated" in texts(figure)


def test_over_training_the_mean_is_over_runs_where_all_were_evaluated():
    records = [
        record(seed=seed, step=step)
        for seed in range(3)
        for step in (0, 10, 20)
        if (seed, step) != (2, 20)
    ]
    figure = over_training(records, [RANK])
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 4  # three runs and their mean
    (mean,) = thick(left)
    expected = [
        np.mean([found.values[RANK] for found in records if found.step == step]) for step in (0, 10)
    ]
    np.testing.assert_allclose(mean.get_xydata(), np.transpose([(0, 10), expected]))
    (mean,) = thick(right)
    expected = [
        100 * np.mean([found.values["linear"] for found in records if found.step == step])
        for step in (0, 10)
    ]
    np.testing.assert_allclose(mean.get_ydata(), expected)


def test_a_value_that_is_undefined_leaves_a_gap_in_the_mean():
    records = [record(seed=seed, step=step) for seed in range(2) for step in (0, 10, 20)]
    records[1] = record(seed=0, step=10, **{RANK: math.nan})
    (mean,) = thick(over_training(records, [RANK]).axes[0])
    np.testing.assert_array_equal(np.isnan(mean.get_ydata()), [False, True, False])


def test_a_spectrum_is_the_mean_over_the_seeds_of_a_configuration():
    records = sweep(seeds=2)
    figure = spectra(records)
    panel, bar = figure.axes
    assert len(panel.lines) == len(SWEEP)
    shares = [np.divide(found.spectrum, sum(found.spectrum)) for found in records]
    expected = sorted((shares[i] + shares[i + 1])[0] / 2 for i in range(0, len(records), 2))
    np.testing.assert_allclose(sorted(line.get_ydata()[0] for line in panel.lines), expected)
    assert bar.get_ylabel() == "linear accuracy, %"


def test_a_collapsed_spectrum_does_not_look_flat():
    panel, *_ = spectra([record()._replace(spectrum=[0.0] * 6), record("diet")]).axes
    low, high = panel.get_ylim()
    assert panel.lines[0].get_ydata().max() < low < high


def test_of_many_spectra_the_best_and_the_worst_are_among_those_drawn():
    records = [record(config={"rate": rate}, linear=rate / 100) for rate in range(40)]
    panel, bar = spectra(records).axes
    assert len(panel.lines) == 12
    assert panel.get_title() == "vicreg, configurations: 12 of 40"
    first, last = (
        np.divide(found.spectrum, sum(found.spectrum)) for found in (records[0], records[-1])
    )
    np.testing.assert_allclose(panel.lines[0].get_ydata(), first)
    np.testing.assert_allclose(panel.lines[-1].get_ydata(), last)
    assert bar.get_ylim() == pytest.approx((0, 39))


def test_a_bar_is_the_mean_regret_and_a_point_a_seed(monkeypatch):
    table = {
        RANK: {"learning_rate": [1.0, 3.0], "all": [0.0, math.nan, 0.5]},
        ALPHA: {"learning_rate": [2.0], "all": [math.nan]},
    }
    monkeypatch.setattr(figures, "regrets", lambda *_: table)
    (axes,) = figures.regret(STUDY, evidence([])).axes
    assert [bar.get_height() for bar in axes.patches] == [2.0, 0.25, 2.0, 0.0]
    assert sorted(points(axes)[:, 1]) == [0.0, 0.5, 1.0, 2.0, 3.0]
    assert [text.get_text() for text in axes.texts] == ["2 of 3", "missing"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["learning\nrate", "all"]


def test_accuracy_has_a_panel_per_data_set_and_a_band_over_runs():
    sets = ("digits/train 0123abcd", "mnist5k/train 4567", "mnist5k/train 89ab")
    records = [
        record(row, seed=seed, step=step, data=data)
        for data in sets
        for row in ("diet", "vicreg")
        for seed in range(3)
        for step in (0, 10, 20)
    ]
    figure = accuracy_over_epochs(records)
    assert [axes.get_title() for axes in figure.axes] == [
        "digits",
        "mnist5k (4567)",
        "mnist5k (89ab)",
    ]
    axes = figure.axes[0]
    assert len(thick(axes)) == len(axes.collections) == 2
    last = [100 * found.values["linear"] for found in records[:9] if found.step == 20]
    np.testing.assert_allclose(axes.lines[0].get_xydata()[-1], (2, np.mean(last)))
    edge = axes.collections[0].get_paths()[0].vertices
    assert max(edge[edge[:, 0] == 2, 1]) == pytest.approx(np.mean(last) + np.std(last, ddof=1))


def test_a_row_has_one_colour_in_all_figures():
    records = [*sweep("vicreg"), *sweep("diet")]
    training = over_training(records, [RANK])
    epochs = accuracy_over_epochs(records)
    legend = {
        line.get_label(): line.get_color() for line in epochs.axes[0].get_legend().get_lines()
    }
    assert len(set(legend.values())) == 2
    for axes in training.axes[:2]:
        assert thick(axes)[0].get_color() == legend[axes.get_title().partition(":")[0]]


def test_a_figure_is_written_as_png_and_as_the_same_svg_twice(tmp_path):
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        png, svg = save(spectra(sweep()), folder, "spectra")
        assert (png.name, svg.name) == ("spectra.png", "spectra.svg")
        assert np.asarray(Image.open(png).convert("L")).std() > 5
        texts.append(svg.read_bytes())
    assert texts[0] == texts[1]
    assert b"<svg" in texts[0]
