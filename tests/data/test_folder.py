"""Folders of images, from the public `load`."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from configs import base
from sslx.data.decode import square
from sslx.data.load import load


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    )


@pytest.fixture
def config(tmp_path):
    data = base.get_config().data
    data.dir = str(tmp_path / "cache")
    return data


@pytest.fixture
def labelled(tmp_path):
    root = tmp_path / "pets"
    for number in range(20):
        folder = root / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"{number:02}.png")
    return root


def test_class_folders_give_labels_and_a_held_out_fifth(config, labelled, capsys):
    config.name = f"folder:{labelled}"
    train, _, test = load(config)
    assert "4 of its images are held out" in capsys.readouterr().out
    assert train.images.shape == (16, 10, 12, 3)
    assert test.images.shape == (4, 10, 12, 3)
    assert train.facts["classes"] == ["cat", "dog"]
    assert np.bincount(train.labels).tolist() == [8, 8]
    originals = {np.asarray(picture(number)).tobytes(): number % 2 == 0 for number in range(20)}
    for source in (train, test):
        for image, label in zip(source.images, source.labels, strict=True):
            assert originals.pop(image.tobytes()) == label
    assert not originals


def test_train_and_val_folders_are_read_as_they_are(config, labelled, tmp_path):
    root = tmp_path / "both"
    root.mkdir()
    labelled.rename(root / "train")
    (root / "val" / "cat").mkdir(parents=True)
    picture(99).save(root / "val" / "cat" / "a.jpg")
    config.name = f"folder:{root}"
    train, _, test = load(config)
    assert (len(train.images), len(test.images)) == (20, 1)
    assert test.labels.tolist() == [0]


def test_the_order_and_so_diet_s_index_follows_from_the_names_alone(config, tmp_path):
    names = [
        "b/2.png",
        "B2/x.png",
        "a/10.png",
        "a/9.png",
        "a/c/1.PNG",
        "\u00e9/1.png",
        "e/1.jpeg",
        "f/1.png",
    ]
    for place, ordered in (("one", names), ("two", names[::-1])):
        for name in ordered:
            path = (
                tmp_path
                / place
                / "train"
                / (name if place == "one" else unicodedata.normalize("NFD", name))
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(names.index(name)).save(path, "PNG")
    facts = []
    for place in ("one", "two"):
        config.name = f"folder:{tmp_path / place}"
        facts.append(load(config).train.facts)
    assert facts[0]["hash"] == facts[1]["hash"]


def test_unlabelled_images_can_train_while_the_probes_learn_from_a_labelled_folder(
    config, labelled, tmp_path
):
    root = tmp_path / "stl"
    root.mkdir()
    labelled.rename(root / "labelled")
    for number in range(3):
        (root / "train").mkdir(exist_ok=True)
        picture(50 + number).save(root / "train" / f"{number}.png")
    (root / "test" / "dog").mkdir(parents=True)
    picture(60).save(root / "test" / "dog" / "1.png")
    config.update(name=f"folder:{root}", probe_split="labelled")
    train, probe, test = load(config)
    assert (len(train.images), train.labels) == (3, None)
    assert (len(probe.images), len(test.images), test.labels.tolist()) == (20, 1, [1])
    config.probe_split = "labels"
    with pytest.raises(
        ValueError, match=r"no folder .*labels, which --config.data.probe_split=labels names"
    ):
        load(config)


def test_class_folders_that_differ_only_in_case_are_refused(config, labelled):
    (labelled / "Cat").mkdir()
    picture(1).save(labelled / "Cat" / "1.png")
    config.name = f"folder:{labelled}"
    with pytest.raises(ValueError, match=r"'Cat' and 'cat' differ only in case\. Merge or rename"):
        load(config)


def test_a_flat_folder_has_no_labels_and_says_so_once(config, tmp_path, capsys):
    root = tmp_path / "flat"
    root.mkdir()
    for number in range(3):
        picture(number).save(root / f"{number}.png")
    config.name = f"folder:{root}"
    train, _, test = load(config)
    assert test is None
    assert train.labels is None
    assert capsys.readouterr().out.count("no labels") == 1


def test_decoding_happens_once_and_again_when_a_file_changes(config, labelled):
    config.name = f"folder:{labelled}"
    first = load(config).train
    array = first.images.filename
    assert load(config).train.images.filename == array
    picture(1234).save(next((labelled / "cat").iterdir()))
    changed = load(config).train
    assert changed.images.filename != array


def test_the_fingerprint_follows_the_pixels_not_the_place(config, labelled, tmp_path):
    config.name = f"folder:{labelled}"
    first = load(config).train.facts
    labelled.rename(tmp_path / "moved")
    config.name = f"folder:{tmp_path / 'moved'}"
    assert load(config).train.facts["hash"] == first["hash"]
    for file in (tmp_path / "moved" / "cat").iterdir():
        picture(1234).save(file)
    assert load(config).train.facts["hash"] != first["hash"]


def test_a_corrupt_image_is_named_and_refused_or_skipped(config, labelled, tmp_path, capsys):
    (labelled / "cat" / "bad.png").write_bytes(b"no image")
    whole = (labelled / "dog" / "00.png").read_bytes()
    (labelled / "dog" / "00.png").write_bytes(whole[: len(whole) // 2])
    config.name = f"folder:{labelled}"
    with pytest.raises(
        ValueError, match=r"(bad|00)\.png cannot be read.*--config\.data\.on_corrupt=skip"
    ):
        load(config)
    config.on_corrupt = "skip"
    train, _, test = load(config)
    assert len(train.images) + len(test.images) == 19
    assert len(train.facts["skipped"]) + len(test.facts["skipped"]) == 2
    assert "left out of" in capsys.readouterr().out
    reports = [path.read_text() for path in (tmp_path / "cache").rglob("unreadable.txt")]
    assert sorted("bad.png" in report or "00.png" in report for report in reports) in (
        [True],
        [True, True],
    )
    assert np.load(train.images.filename, allow_pickle=False).shape[0] == len(train.images)


def test_nothing_is_left_of_a_decoding_that_failed(config, labelled, tmp_path):
    picture(5, (30, 20)).save(labelled / "cat" / "large.png")
    config.name = f"folder:{labelled}"
    with pytest.raises(ValueError, match="differ in size"):
        load(config)
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_sizes_that_differ_ask_for_one_size(config, labelled):
    picture(5, (30, 20)).save(labelled / "cat" / "large.png")
    config.name = f"folder:{labelled}"
    with pytest.raises(ValueError, match=r"differ in size.*--config\.data\.image_size=64"):
        load(config)
    config.image_size = 16
    config.channels = 1
    assert load(config).train.images.shape[1:] == (16, 16, 1)


def test_square_keeps_the_centre():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    np.testing.assert_array_equal(square(image, 5), np.full((5, 5, 3), 200, np.uint8))


def test_an_empty_folder_is_refused(config, tmp_path):
    config.name = f"folder:{tmp_path}"
    with pytest.raises(ValueError, match=r"no images in .*\.png"):
        load(config)
