"""The names that can be prepared, and the list of them."""

import pytest

from sslx.datasets import __main__ as command
from sslx.datasets import official
from sslx.datasets.dataset import Archive


def test_the_list_shows_every_data_set_in_160_columns(tmp_path, monkeypatch, capsys):
    by_hand = official.DATA_SETS["digits"]._replace(
        name="toys",
        archives=(Archive("a.tar", size=2_000_000_000),),
        home="https://toys.example",
        licence="x" * 99,
    )
    by_hand = by_hand._replace(
        sizes={"train": 10, "test": 5}, train="train[:80%]+test", test="train[80%:]"
    )
    monkeypatch.setitem(official.DATA_SETS, "toys", by_hand)
    assert command.main(["--list", f"--data_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 160
    names = [line.split()[0] for line in lines[1 : lines.index("")]]
    assert names == list(official.DATA_SETS)
    row = next(line for line in lines if line.startswith("toys"))
    assert "train[:80%]+test 13" in row
    assert "train[80%:] 2" in row
    assert "2.0 GB by hand" in row
    assert "toys: https://toys.example" in lines
    assert any(
        line.startswith("toys by hand: Fetch a.tar (2.0 GB) from https://toys.example, put it")
        for line in lines
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("cub200", "caltech_birds2011"),
        ("pets", "oxford_iiit_pet"),
        ("flowers", "oxford_flowers102"),
        ("dtdd", "dtd"),
    ]
    + [
        ("aircraft", "fgvc_aircraft"),
        ("cars", "cars196"),
        ("sun", "sun397"),
        ("tinyimagenet", "tiny_imagenet"),
    ]
    + [("CIFAR10", "cifar10"), ("Food-101", "food101"), ("stl_10", "stl10"), ("qqqqqqq", "")],
)
def test_the_name_that_was_meant_is_found(given, meant):
    assert official.nearest(given, ["stl10"]) == meant
