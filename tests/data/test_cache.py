"""The decoded cache under damage: killed, cut off, read-only, full; and two processes at once."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import base
from sslx.data import load as loading
from sslx.data.load import load


@pytest.fixture
def pictures(tmp_path):
    """30 small pictures without labels."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(30):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"{number:02}.png")
    return root


@pytest.fixture
def config(tmp_path, pictures):
    data = base.get_config().data
    data.update(
        name=f"folder:{pictures}", dir=str(tmp_path / "data"), cache=str(tmp_path / "cache")
    )
    return data


def reds(source) -> list[int]:
    return source.images[:][:, 0, 0, 0].tolist()


SLOW = """
import sys, time
from configs import base
from sslx.data import load as loading, stream
from sslx.data.load import load
data = base.get_config().data
data.name, data.cache = sys.argv[1:3]
pause, original = float(sys.argv[3]), stream.decode
def slow(*words):
    time.sleep(pause)
    return original(*words)
stream.decode, loading.CHUNK = slow, 4
print(len(load(data).train.images), flush=True)
"""


def start_slow(config, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, config.name, config.cache, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(pattern: str, folder: Path) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if paths := list(folder.glob(pattern)):
            return paths[0]
        time.sleep(0.01)
    raise AssertionError(f"no {pattern} in {folder}")


def test_what_a_killed_process_left_is_not_used_and_goes_away(config):
    process = start_slow(config, 0.3)
    left = wait_for("*.tmp/images.npy", Path(config.cache)).parent
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left.exists()
    assert reds(load(config).train) == list(range(30))
    assert not left.exists()


def test_two_processes_decode_once(config):
    both = [start_slow(config, 0.02) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].split()[-1] for process in both] == ["30", "30"]
    (folder,) = (path.parent for path in Path(config.cache).rglob("facts.json"))
    assert {path.name for path in folder.iterdir()} == {
        "facts.json",
        "images.npy",
        "kept.npy",
        "labels.npy",
    }


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "kept.npy"])
def test_a_cache_that_was_cut_off_is_named_with_what_to_do(config, name):
    config.decoded_gib = 0.0 if name == "kept.npy" else 1.0
    load(config)
    (path,) = Path(config.cache).rglob(name)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"{name} is damaged .*Delete .* and try again"):
        load(config)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_where_nothing_can_be_written_the_line_says_what_to_do(config, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ValueError, match=rf"{os.strerror(code)}.*--config\.data\.cache=FOLDER"):
            load(config)
    load(config)
    with monkeypatch.context() as patch:  # what is there can be read
        patch.setattr(Path, "mkdir", refuse)
        assert len(load(config).train.images) == 30


def test_a_cache_below_a_file_is_refused_in_one_line(config, tmp_path):
    (tmp_path / "file").write_text("")
    config.cache = str(tmp_path / "file" / "cache")
    with pytest.raises(ValueError, match=r"Not a directory.*--config\.data\.cache=FOLDER"):
        load(config)


def test_too_little_room_is_reported_before_anything_is_written(config, monkeypatch):
    monkeypatch.setattr(
        loading.shutil, "disk_usage", lambda _: loading.shutil._ntuple_diskusage(100, 100, 5000)
    )
    with pytest.raises(
        ValueError, match=r"needs 5\.8 kB in .* 5\.0 kB are free.*--config\.data\.decoded_gib=0"
    ):
        load(config)
    assert not list(Path(config.cache).rglob("*.npy"))
    config.decoded_gib = 0.0
    assert reds(load(config).train) == list(range(30))


def test_images_checked_for_streaming_can_be_kept_later_and_the_other_way_round(config):
    config.decoded_gib = 0.0
    first = load(config).train
    assert not list(Path(config.cache).rglob("images.npy"))
    config.decoded_gib = 1.0
    second = load(config).train
    assert isinstance(second.images, np.memmap)
    assert first.facts == second.facts
    config.decoded_gib = 0.0
    assert not isinstance(load(config).train.images, np.ndarray)


def test_one_bad_file_among_many_and_an_empty_one_are_listed(config, pictures, capsys):
    (pictures / "07.png").write_bytes(b"")
    (pictures / "09.png").write_bytes((pictures / "09.png").read_bytes()[:40])
    with pytest.raises(
        ValueError,
        match=r"07\.png cannot be read as an image \(the file is empty\).*2 of 30, listed",
    ):
        load(config)
    config.on_corrupt = "skip"
    expected = [number for number in range(30) if number not in (7, 9)]
    for config.decoded_gib in (1.0, 0.0):
        assert reds(load(config).train) == expected
    capsys.readouterr()
    (report,) = Path(config.cache).rglob("unreadable.txt")
    assert [line.split(" cannot")[0][-6:] for line in report.read_text().splitlines()] == [
        "07.png",
        "09.png",
    ]
    Image.new("RGB", (8, 8), (7, 0, 0)).save(pictures / "07.png")
    Image.new("RGB", (8, 8), (9, 0, 0)).save(pictures / "09.png")
    config.on_corrupt = "refuse"
    assert reds(load(config).train) == list(range(30))


def test_a_limit_between_the_readable_images_and_all_is_one_limit(config, pictures):
    (pictures / "07.png").write_bytes(b"")
    config.update(on_corrupt="skip", decoded_gib=29.5 * 8 * 8 * 3 / 2**30)
    for _ in range(2):
        assert len(reds(load(config).train)) == 29


def test_facts_say_what_the_data_is(config):
    facts = load(config).train.facts
    (path,) = Path(config.cache).rglob("facts.json")
    assert json.loads(path.read_text()) == facts
    assert (facts["count"], facts["shape"], facts["skipped"]) == (30, [8, 8, 3], [])
