"""The dictionary of all metrics, and the command on saved embeddings."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

import metrics
from metrics import METRICS, label_free
from metrics.__main__ import main
from metrics.label_free import entries


def views(n: int = 700, q: int = 4, d: int = 24) -> np.ndarray:
    rng, k = np.random.default_rng(0), np.arange(1, d + 1)
    signal = rng.standard_normal((n, 1, d)) * k**-0.5
    return (signal + 0.3 * rng.standard_normal((n, q, d)) * k**-0.25).astype(np.float32)


@pytest.mark.filterwarnings("ignore:alpha_req")
def test_every_metric_is_there_and_equals_its_own_call():
    array = views()
    scores = label_free(array)
    expected = {}
    for name, metric in METRICS.items():
        result = metric.compute(array if metric.needs == "views" else array[:, 0])
        results = result if name == "clid" else (result,)
        expected |= dict(zip(entries(name), results, strict=True))
    assert list(scores) == list(expected)
    for name, score in expected.items():
        assert scores[name] == pytest.approx(score, rel=1e-12), name
        assert scores[name].settings["d"] == 24
        assert scores[name].settings["dtype"] == "float32"


def test_the_table_describes_every_exported_metric():
    public = set(metrics.__all__) - {"METRICS", "label_free", "singular_values"}
    assert set(METRICS) == {name for name in public if name.islower()}
    for name, metric in METRICS.items():
        assert metric.compute is getattr(metrics, name)
        assert metric.needs in ("rows", "views")
        assert metric.better in ("higher", "lower", "near 1", "")
        assert metric.digits in (2, 3)
        assert metric.reads in ("lda", "spectrum", "rows", "pairs")
    assert METRICS["lidar"].title == "LiDAR"
    assert METRICS["mean_cosine"].title == "mean cosine"


def test_the_spectrum_is_computed_once(monkeypatch):
    import metrics.spectrum

    calls = []
    solve = metrics.spectrum.eigenvalues
    monkeypatch.setattr(metrics.spectrum, "eigenvalues", lambda m: calls.append(len(m)) or solve(m))
    label_free(
        views()[:, 0], ["rankme", "stable_rank", "effective_rank", "nesum", "participation_ratio"]
    )
    assert calls == [24, 24]  # uncentred and centred


def test_a_matrix_has_no_view_metrics_unless_they_are_asked_for():
    plain = views(300)[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not {"lidar", "debiased_lidar", "augmented_rankme", "alignment"} & set(
            label_free(plain)
        )
    with pytest.raises(ValueError, match=r"lidar needs several views.*\[n, q, d\]"):
        label_free(plain, ["rankme", "lidar"])


def test_options_are_passed_on_and_pairs_are_limited():
    array = views(300)
    scores = label_free(
        array, ["lidar", "uniformity"], options={"lidar": {"delta": 0.5}}, points=100
    )
    assert scores["lidar"] == pytest.approx(metrics.lidar(array, delta=0.5), rel=1e-12)
    assert scores["uniformity"].settings["n"] == 100
    assert label_free(array, ["uniformity"], points=100) == {"uniformity": scores["uniformity"]}
    assert label_free(array, ["uniformity"], points=100, seed=1) != {
        "uniformity": scores["uniformity"]
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"metrics": ["lidr"]},
            "no metric 'lidr'; there are lidar, debiased_lidar, rankme",
        ),
        (
            {"metrics": ["lidar"], "options": {"lidar": {"delt": 1}}},
            "lidar has no option 'delt'; it takes delta, eps",
        ),
        (
            {"metrics": ["nesum"], "options": {"nesum": {"eps": 1}}},
            "nesum has no option 'eps'; it takes none",
        ),
        ({"options": {"rank": {}}}, "no metric 'rank'"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_free(views(50), **arguments)


def test_a_metric_that_is_not_defined_is_left_out_with_a_reason_or_raises_if_asked_for():
    collapsed = np.ones((300, 8), np.float32)
    with pytest.warns(UserWarning, match="left out") as told:
        scores = label_free(collapsed)
    assert any(
        "left out: alpha_req needs at least 3 eigenvalues" in str(warning.message)
        for warning in told
    )
    assert {"alpha_req", "idest", "clid/learnability", "intrinsic_dimension"}.isdisjoint(scores)
    assert scores["rankme"] == pytest.approx(1, abs=1e-4)
    assert not any(np.isnan(score) for score in scores.values())
    with pytest.raises(ValueError, match="alpha_req"):
        label_free(collapsed, ["alpha_req"])


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def keep_warning_printer(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def test_the_command_prints_values_with_settings(tmp_path, capsys):
    np.savez(tmp_path / "saved.npz", features=views(100))
    code, out, err = run(
        capsys, tmp_path / "saved.npz", "--metrics=lidar,rankme", "--set", "lidar.delta=1e-6"
    )
    assert code == 0
    assert not err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["lidar", "rankme"]
    assert float(lines[0].split()[1]) == pytest.approx(
        metrics.lidar(views(100), delta=1e-6), rel=1e-5
    )
    assert "delta=1e-06" in lines[0]
    assert "q=4" in lines[0]


def test_the_command_prints_json_and_reads_npy_and_keys(tmp_path, capsys):
    np.savez(tmp_path / "saved.npz", one=views(100), two=views(100)[:, 0])
    _, out, _ = run(capsys, tmp_path / "saved.npz", "--key=two", "--metrics=rankme,nesum", "--json")
    read = json.loads(out)
    assert read["rankme"]["value"] == float(metrics.rankme(views(100)[:, 0]))
    assert read["rankme"]["n"] == 100
    np.save(tmp_path / "saved.npy", views(100)[:, 0])
    _, again, _ = run(capsys, tmp_path / "saved.npy", "--metrics=rankme,nesum", "--json")
    assert again == out
    code, out, _ = run(
        capsys, tmp_path / "saved.npz", "--key=one", "--metrics=lidar", "--set=lidar.ridge=relative"
    )
    assert code == 0
    assert "ridge=relative" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npz"], "there is no file .*none.npz"),
        (["two.npz"], "Name the array with --key; there are one, two"),
        (["two.npz", "--key=three"], "no array 'three'; there are one, two"),
        (["objects.npz"], "the array 'objects' of .* cannot be read .*allow_pickle"),
        (["text.npz"], "text.npz is not a .npy or .npz file"),
        (["ints.npy"], "floating-point embeddings, but got dtype int64"),
        (["two.npz", "--key=one", "--metrics=lidar,bogus"], "no metric 'bogus'"),
        (["two.npz", "--key=one", "--set=delta=1"], "METRIC.OPTION=VALUE.*'delta=1'"),
        (["two.npz", "--key=one", "--metrics=rankme", "--set=rankme.eps=-1"], "eps >= 0"),
        (["spoilt.npy", "--metrics=rankme"], r"1 of 12 numbers in 1 rows.*\[1, 2\]"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, capsys, arguments, message):
    np.savez(tmp_path / "two.npz", one=views(20), two=views(20))
    np.savez(tmp_path / "objects.npz", objects=np.array([[1], [2, 3]], object))
    (tmp_path / "text.npz").write_text("no numbers")
    np.save(tmp_path / "ints.npy", np.ones((4, 3), int))
    spoilt = np.ones((4, 3))
    spoilt[1, 2] = np.nan
    np.save(tmp_path / "spoilt.npy", spoilt)
    code, out, err = run(capsys, tmp_path / arguments[0], *arguments[1:])
    assert code == 2
    assert not out
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(err)


def test_the_command_runs_as_a_module_without_loading_the_training_code(tmp_path):
    np.save(tmp_path / "saved.npy", views(100))
    command = [sys.executable, "-X", "importtime", "-m", "metrics", str(tmp_path / "saved.npy")]
    done = subprocess.run(
        [*command, "--metrics=lidar"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("lidar")
    # importtime prints a line of each imported module
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "metrics.neighbours" in imported
    assert imported.isdisjoint({"sslx", "flax", "sklearn", "matplotlib"})
