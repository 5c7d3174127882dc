"""The command that prepares data sets, on one of fifty images; TFDS runs in its own processes."""

import contextlib
import errno
import json
import subprocess
import sys
import time

import pytest

from configs import base
from sslx import datasets
from sslx.datasets import __main__ as command
from sslx.datasets import official, prepare
from sslx.datasets.counts import Counted
from sslx.datasets.dataset import Contents, DataSet

# Its archive is a list of lines: split, key, class and, for an image of no bytes, "empty". While
# the file `hold` lies beside it, reading stops after five images.
TOYS = """
import contextlib, functools, importlib.util, io, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from sslx.datasets import __main__ as command
from sslx.datasets import builders, official, prepare
from sslx.datasets.dataset import Archive, Contents, DataSet

root, manual = Path(sys.argv[1]), Path(sys.argv[2])

def png(number):
    file = io.BytesIO()
    Image.new("RGB", (5, 4 + number % 3), (number, 0, 255)).save(file, "PNG")
    return file.getvalue()

def examples(path, wanted):
    for number, line in enumerate(path.read_text().splitlines()):
        split, key, label, *empty = line.split()
        while number == 5 and (path.parent / "hold").exists():
            time.sleep(0.01)
        if split == wanted:
            yield key, b"" if empty else png(number), label

def read(paths):
    begin = functools.partial(functools.partial, examples, paths["toys.txt"])
    return Contents(("cat", "dog"), {split: begin(split) for split in ("train", "test")})

toys = DataSet(
    name="toys", title="", archives=(Archive("toys.txt"),), read=read, classes=2,
    sizes={"train": 40, "test": 10}, home="", source="", disk=500,
)
official.DATA_SETS["toys"] = toys
"""

STORY = """
import tensorflow_datasets as tfds

def run(*words, folder=root):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command.main([*words, f"--data_dir={folder}"])
    return status, out.getvalue(), err.getvalue()

def fails(*expected, words=("toys", f"--manual_dir={manual}"), folder=root):
    status, _, errors = run(*words, folder=folder)
    errors = [line for line in errors.splitlines() if "WARNING:absl" not in line]
    assert status == 2 and len(errors) == 1 and errors[0].startswith("error: "), (status, errors)
    assert all(text in errors[0] for text in expected), errors

def records(builder, split):
    encoded = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return [
        (record["file_name"].decode(), record["image"], int(record["label"])) for record in encoded
    ]

# Prepared: in several shards, and in the order of TFDS, whose own builder would write one.
fails("toys is not prepared in", "python -m sslx.datasets toys", words=("toys", "--check"))
builders.SHARD_BYTES = 100
status, text, _ = run("toys", f"--manual_dir={manual}")
assert status == 0 and "train: 40 images, 20 in each of 2 classes" in text, text
assert f"toys is prepared in {root}/toys/1.0.0: train 40, test 10" in text, text
assert len(list((root / "toys/1.0.0").glob("*train*"))) == 4
assert not list((root / "toys/1.0.0").glob("*.unordered"))

class Theirs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        label = tfds.features.ClassLabel(names=["cat", "dog"])
        features = {"image": tfds.features.Image(), "label": label}
        features = tfds.features.FeaturesDict(features | {"file_name": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)
    def _split_generators(self, _):
        return {"train": self._generate_examples("train"), "test": self._generate_examples("test")}
    def _generate_examples(self, split):
        for key, image, label in examples(manual / "toys.txt", split):
            yield key, {"image": image, "label": label, "file_name": key}

theirs = Theirs(data_dir=root / "theirs", file_format="array_record")
theirs.download_and_prepare()
ours = tfds.builder_from_directory(root / "toys/1.0.0")
assert ours.info.features["label"].names == ["cat", "dog"]
for split, count in toys.sizes.items():
    assert len(records(ours, split)) == count
    assert records(ours, split) == records(theirs, split)

# Prepared once: the archive is not read again.
listed = (manual / "toys.txt").read_text()
(manual / "toys.txt").unlink()
assert run("toys") == (0, f"toys is prepared in {root}/toys/1.0.0: train 40, test 10\\n", "")
status, text, _ = run("toys", "--check")
assert (status, text.splitlines()[1]) == (0, "test: 10 images, 5 in each of 2 classes"), text
for file in (root / "toys/1.0.0").glob("*test*"):
    file.write_bytes(file.read_bytes()[:100])
fails("toys/1.0.0 is damaged (", "Remove it, and prepare it again", words=("toys", "--check"))
fails("has no direct download. Fetch toys.txt", folder=root / "other")

# Other counts than the published ones: nothing is left behind, unless it is allowed.
lost = listed.replace("train dog/01.png dog", "train dog/01.png dog empty")
(manual / "toys.txt").write_text(lost)
text = "has 39 images of 40 and 2 classes of 2; empty files: dog/01.png"
fails(text, "--allow_incomplete", folder=root / "lost")
assert list((root / "lost/toys").iterdir()) == []
words = ("toys", f"--manual_dir={manual}", "--allow_incomplete")
status, text, warned = run(*words, folder=root / "lost")
text = text.partition(": train 39, test 10; ")[2]
assert (status, text) == (0, "images are missing: remove the folder to prepare it anew\\n"), text
assert warned.startswith("warning: toys: train has 39 images"), warned
fails("train has 39 images of 40", words=("toys", "--check"), folder=root / "lost")
(manual / "toys.txt").write_text(listed.replace("dog/01.png", "dog/03.png"))
fails("toys: two images of train have the key 'dog/03.png'", folder=root / "twice")
(root / "alien/toys/1.0.0").mkdir(parents=True)
fails("alien/toys/1.0.0 exists and is no prepared data set. Remove it", folder=root / "alien")

# Arrays under numbers become PNG, without a file name.
images = np.random.default_rng(0).integers(0, 256, (10, 6, 7), np.uint8)
squares = toys._replace(name="squares", archives=(), sizes={"train": 10}, shape=(6, 7, 1))
examples = [(number, image, number % 2) for number, image in enumerate(images)]
squares = squares._replace(read=lambda _: Contents(("a", "b"), {"train": lambda: iter(examples)}))
prepare.prepare(squares, root)
builder = tfds.builder_from_directory(root / "squares/1.0.0")
assert set(builder.info.features) == {"image", "label"}
assert builder.info.features["image"].encoding_format == "png"
stored = builder.as_data_source("train")
labels = {record["image"].tobytes(): int(record["label"]) for record in stored}
assert labels == {image.tobytes(): number % 2 for number, image in enumerate(images)}

# Names that are not ours.
expected = "no data set 'CUB'. Did you mean 'caltech_birds2011'?"
fails(expected, "All names: python -m sslx.datasets --list", words=["CUB"])
importlib.util.find_spec = lambda name: None
expected = "stl10 is written by TFDS's own builder"
fails(expected, "pip install tensorflow-cpu", words=["toys", "stl10"])
fails("counts of stl10 are not known", words=["stl10", "--check"])
importlib.util.find_spec = lambda name: True
command.WITH_TENSORFLOW = "import os, sys; print('first'); "
command.WITH_TENSORFLOW += "print(sys.argv[1:], [os.environ['CUDA_VISIBLE_DEVICES']])"
assert run("stl10")[0] == 0
command.WITH_TENSORFLOW += "; sys.exit(1)"
expected = f"not prepare stl10: ['stl10', '{root}', '{manual}'] ['']"
fails(expected, words=["stl10", f"--manual_dir={manual}"])
assert "tensorflow" not in sys.modules
"""


def write_toys(folder):
    lines = [
        f"train {name}/{number:02}.png {name}" for number in range(20) for name in ("cat", "dog")
    ]
    lines += [
        f"test {name}/{number:02}.png {name}" for number in range(5) for name in ("cat", "dog")
    ]
    folder.mkdir()
    (folder / "toys.txt").write_text("\n".join(lines))


def data_set(**changes):
    contents = Contents(
        ("cat", "dog"),
        {"train": lambda: iter([("a", b"1", "cat"), ("b", b"2", 1), ("c", b"3", 1)])},
    )
    empty = DataSet(
        name="toys",
        title="",
        archives=(),
        read=lambda _: contents,
        sizes={"train": 3},
        classes=2,
        home="",
        source="",
        disk=1,
        test="train",
    )
    return empty._replace(**changes)


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("this took half a minute")


def test_a_data_set_is_prepared_once_as_tfds_would_and_mistakes_are_one_line_each(tmp_path):
    write_toys(tmp_path / "manual")
    command = [sys.executable, "-c", TOYS + STORY, str(tmp_path / "data"), str(tmp_path / "manual")]
    subprocess.run(command, check=True, timeout=120)


def test_a_second_process_waits_and_takes_over_when_the_first_is_killed(tmp_path):
    write_toys(tmp_path / "manual")
    (tmp_path / "manual" / "hold").touch()
    program = (
        TOYS + "sys.exit(command.main(['toys', f'--manual_dir={manual}', f'--data_dir={root}']))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data"), str(tmp_path / "manual")]
    toys, outputs = tmp_path / "data" / "toys", [tmp_path / "first", tmp_path / "second"]
    with contextlib.ExitStack() as stack:
        processes = []
        for output in outputs:
            file = stack.enter_context(output.open("w"))
            processes.append(stack.enter_context(subprocess.Popen(command, stdout=file)))
            stack.callback(processes[-1].kill)
        wait_until(lambda: list(toys.glob("incomplete.*/train-*")))
        wait_until(
            lambda: any(
                "waiting for another process that prepares toys" in file.read_text()
                for file in outputs
            )
        )
        holder, waiter = reversed(processes) if "waiting" in outputs[0].read_text() else processes
        assert official.prepared_counts(data_set(), tmp_path / "data") == {}
        left = next(toys.glob("incomplete.*"))
        holder.kill()
        wait_until(lambda: not left.exists() and list(toys.glob("incomplete.*")))
        (tmp_path / "manual" / "hold").unlink()
        assert waiter.wait(60) == 0
    assert [path.name for path in toys.iterdir()] == ["1.0.0"]
    assert official.prepared_counts(data_set(), tmp_path / "data") == {"train": 40, "test": 10}


def test_counts_are_compared_with_the_published_ones_and_classes_become_numbers(capsys):
    def read(dataset, partial=False, **changes):
        counted = Counted(dataset, dataset.read({})._replace(**changes), partial)
        examples = [list(begin()) for begin in counted.contents.splits.values()]
        counted.report()
        return examples, counted.histograms

    assert read(data_set()) == (
        [[("a", b"1", 0), ("b", b"2", 1), ("c", b"3", 1)]],
        {"train": [1, 2]},
    )
    assert capsys.readouterr().out == "train: 3 images, 1 to 2 in each of 2 classes\n"
    for sizes, classes, names, text in (
        (
            {"train": 2},
            2,
            ("cat", "dog"),
            r"toys: train has 3 images of 2 and 2 classes of 2\. Fetch",
        ),
        (
            {"train": 3},
            3,
            ("cat", "dog", "owl"),
            r"has 3 images of 3 and 2 classes of 3; no images of: owl\. Fetch",
        ),
        ({"train": 3}, 3, ("cat", "dog"), "2 classes of 3. Fetch"),
        (
            {"train": 3},
            2,
            ("dog", "owl"),
            "a of train has the class 'cat', which the data set does not have",
        ),
        ({"train": 3, "test": 1}, 2, ("cat", "dog"), "toys has the splits train, not train, test"),
    ):
        with pytest.raises(ValueError, match=text):
            read(data_set(sizes=sizes, classes=classes), classes=names)
    capsys.readouterr()
    assert len(read(data_set(sizes={"train": 4}), partial=True)[0][0]) == 3
    assert capsys.readouterr().err == "warning: toys: train has 3 images of 4 and 2 classes of 2\n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device). Make room, or choose another",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "(Read-only file system). Choose another folder: --data_dir=",
        ),
        (
            RuntimeError("write() failed: No space; at byte 1"),
            "(write() failed: No space). Make room, or choose",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/far/a.tar"),
            "Permission denied: '/far/a.tar'",
        ),
        (KeyboardInterrupt(), "interrupted: the same command begins the writing anew"),
    ],
)
def test_what_stops_the_writing_is_one_line(monkeypatch, tmp_path, capsys, error, text):
    def obtain(*_):
        raise error

    monkeypatch.setattr(prepare, "obtain", obtain)
    monkeypatch.setitem(official.DATA_SETS, "toys", data_set())
    interrupted = isinstance(error, KeyboardInterrupt)
    assert command.main(["toys", f"--data_dir={tmp_path}"]) == (130 if interrupted else 2)
    message = capsys.readouterr().err
    assert text in message
    assert message.startswith("interrupted" if interrupted else "error: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "error: say which data set. See python -m sslx.datasets --help"),
        (["digits", "--lits"], "error: unrecognized arguments: --lits. See"),
        (
            ["digits", "--data_dir={file}/below"],
            "/below cannot be written (Not a directory). Choose another folder: --data_dir",
        ),
        (
            ["cifar10", "--data_dir={file}.d", "--manual_dir={file}"],
            "There is no folder {file}: --manual_dir is where",
        ),
    ],
)
def test_what_is_typed_wrong_is_one_line(tmp_path, capsys, words, text):
    file = tmp_path / "file"
    file.touch()
    assert command.main([word.format(file=file) for word in words]) == 2
    message = capsys.readouterr().err
    assert text.format(file=file) in message
    assert message.count("\n") == 1


def test_a_folder_of_an_earlier_version_gets_the_note_of_its_splits(tmp_path, monkeypatch):
    config = base.get_config().data
    folders = {name: tmp_path / name / "3.0.0" for name in ("eurosat", "cifar10")}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text('{"fileFormat": "array_record"}')

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_note", refuse)
        config.update(name="cifar10", dir=str(tmp_path))
        datasets.prepare_small(config)  # its splits are those without a note
        config.name = "eurosat"
        expected = (
            "cannot be written .Permission denied.* Its owner has to type: python -m sslx.dat"
        )
        with pytest.raises(ValueError, match=expected):
            datasets.prepare_small(config)
    for name, test in (("eurosat", "train[80%:]"), ("cifar10", "test")):
        config.name = name
        datasets.prepare_small(config)
        assert json.loads((folders[name] / "sslx.json").read_text())["test"] == test


@pytest.mark.parametrize("name", ["folder:a", "npz:a", "array_record:a", "cifar10", "imagenet100"])
def test_nothing_else_is_prepared(tmp_path, name):
    config = base.get_config().data
    config.update(name=name, dir=str(tmp_path / "data"))
    datasets.prepare_small(config)
    assert not (tmp_path / "data").exists()


def test_the_command_starts_without_what_takes_long():
    slow = {"jax", "tensorflow", "tensorflow_datasets", "sklearn", "scipy"}
    program = (
        f"import sslx.datasets.__main__, sys; assert not {slow} & set(sys.modules), {slow} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
