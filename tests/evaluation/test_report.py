import numpy as np
import pytest
from PIL import Image

from sslx.evaluation.evaluate import Settings, Verdict
from sslx.evaluation.plot import plot
from sslx.evaluation.report import selection, table

SETTINGS = Settings(("lidar", "rankme"), ("linear",), "lbfgs", 1000, 200, 8, 0)


def verdicts(accuracies, lidars):
    spectrum = np.exp(-np.arange(8.0))
    return [
        Verdict(10 * step, {"lidar/representation": rank, "linear": accuracy}, spectrum, {})
        for step, (accuracy, rank) in enumerate(zip(accuracies, lidars, strict=True))
    ]


def test_the_table_has_a_row_per_checkpoint_and_one_for_raw_pixels():
    text = table(verdicts([0.5, 0.75, 0.9], [3.0, 5.0, 4.0]), {"linear": 0.6})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[0] == ["step", "LiDAR representation", "linear %"]
    assert rows[2:] == [
        ["raw pixels", "", "60.0"],
        ["0 (untrained)", "3.00", "50.0"],
        ["10", "5.00", "75.0"],
        ["20", "4.00", "90.0"],
    ]


def test_the_selection_names_each_metrics_pick_and_its_rank_correlation():
    lines = selection(verdicts([0.99, 0.7, 0.8, 0.9, 0.6], [99.0, 1.0, 2.0, 4.0, 3.0]))
    assert lines[0] == "Best linear %: step 30 with 90.0."  # the untrained network takes no part
    assert "Highest LiDAR representation: step 30 with 90.0" in lines[1]
    assert "Spearman +0.40, Kendall tau-b +0.33" in lines[1]
    assert selection(verdicts([0.5, 0.6, 0.7], [1.0, 2.0, 3.0])) == []


def test_the_plot_shows_something_with_and_without_labels(tmp_path):
    plot(verdicts([0.5, 0.7, 0.8], [1.0, 2.0, 3.0]), {"linear": 0.6}, "run", tmp_path / "a.png")
    unlabelled = [
        verdict._replace(values={"lidar/representation": 2.0}) for verdict in verdicts([0.5], [1.0])
    ]
    plot(unlabelled, {}, "run", tmp_path / "b.png")
    for name in ("a", "b"):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ("lidra",)}, "--metrics has 'lidra'"),
        ({"probes": ("svm",)}, "--probe has 'svm'; it takes linear, knn"),
        ({"protocol": "moco"}, "--protocol has 'moco'; it takes lidar, diet, lbfgs"),
        ({"lidar_images": 1}, "LiDAR of 1 images"),
    ],
)
def test_settings_are_checked(change, message):
    SETTINGS.check()
    with pytest.raises(ValueError, match=message):
        SETTINGS._replace(**change).check()
