"""eval.md and eval.png: a row per checkpoint, what each metric picks, and a picture."""

import numpy as np
from PIL import Image

from sslx.evaluation.pictures import plot_results
from sslx.evaluation.report import picks, report
from sslx.evaluation.results import Record
from sslx.evaluation.settings import Settings


def records(accuracies, lidars, **more):
    """A checkpoint every 10 steps; without accuracies nothing has labels."""
    values = [{"lidar/representation": lidar} for lidar in lidars]
    for of_step, accuracy in zip(values, accuracies, strict=False):
        of_step["linear"] = accuracy
    spectrum = np.exp(-np.arange(8.0)).tolist()
    return [
        Record("run", "diet", {}, {}, 10 * i, False, of_step | more, Settings(), {}, spectrum)
        for i, of_step in enumerate(values)
    ]


def test_the_table_has_a_row_per_checkpoint_and_one_for_raw_pixels():
    text = report("run", records([0.5, 0.75, 0.9], [3.0, 5.0, 4.0]), {"linear": 0.6}, ["a note"])
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("## run", "- a note")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:-2]]
    assert rows[0] == ["step", "LiDAR representation", "linear %"]
    assert rows[2:] == [
        ["raw pixels", "", "60.0"],
        ["0 (untrained)", "3.00", "50.0"],
        ["10", "5.00", "75.0"],
        ["20", "4.00", "90.0"],
    ]


def test_each_metrics_pick_is_named_with_its_rank_correlation():
    evaluated = records([0.99, 0.7, 0.8, 0.9, 0.6], [99.0, 1.0, 2.0, 4.0, 3.0])
    # The untrained network takes no part.
    assert picks(evaluated) == [
        "Best linear %: step 30 with 90.0.",
        "Highest LiDAR representation: step 30 with 90.0; over 4 checkpoints "
        "Spearman +0.40, Kendall tau-b +0.33.",
    ]
    assert picks(records([0.5, 0.6, 0.7], [1.0, 2.0, 3.0])) == []
    assert picks(records([], [1.0, 2.0, 3.0, 4.0])) == []


def test_metrics_without_a_highest_value_pick_nothing():
    others = {"idest/representation": 1.0, "feature_std/representation": 1.0}
    evaluated = records([0.9, 0.7, 0.8, 0.9], [np.nan] * 4, **others)
    assert picks(evaluated) == ["Best linear %: step 30 with 90.0."]


def test_the_plot_shows_something_with_and_without_labels(tmp_path):
    labelled = records([0.5, 0.7, 0.8], [1.0, 2.0, 3.0])
    plot_results(labelled, {"linear": 0.6}, "run", tmp_path / "a.png")
    plot_results(records([], [1.0]), {}, "run", tmp_path / "b.png")
    for name in ("a", "b"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
