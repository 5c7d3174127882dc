import json
import math

import numpy as np
import pytest

from sslx.files import append_line, plain, read_lines, to_json, write_atomically
from sslx.hints import check_choice, did_you_mean


def test_json_has_null_for_what_is_not_finite_and_lists_for_tuples():
    tree = {"a": math.nan, "b": (1, np.float32(2.5)), "c": {"d": -math.inf, 3: np.arange(2)}}
    assert plain(tree) == {"a": None, "b": [1, 2.5], "c": {"d": None, "3": [0, 1]}}
    assert json.loads(to_json(tree)) == plain(tree)
    assert plain(True) is True
    assert plain(None) is None


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    append_line(path, {"step": 1, "loss": math.nan})
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert read_lines(path) == [{"step": 1, "loss": None}]


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "new" / "config.json"
    write_atomically(path, "first")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "second")
    assert path.read_text() == "first"


def test_a_wrong_name_gets_the_nearest_one():
    assert did_you_mean("lidra", ["lidar", "rankme"]) == " Did you mean 'lidar'?"
    assert did_you_mean("xyz", ["lidar", "rankme"]) == ""
    check_choice("config.a", 1, (1, 2))
    with pytest.raises(ValueError, match=r"^config\.a is 3; it takes 1, 2\.$"):
        check_choice("config.a", 3, (1, 2))
