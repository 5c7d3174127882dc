"""Arrays in an .npz and records of image files, from the public `load`."""

import io

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from configs import base
from sslx.data.load import load

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 6, 5, 3), np.uint8)
LABELS = RNG.integers(0, 4, 23)


@pytest.fixture
def config(tmp_path):
    data = base.get_config().data
    data.dir = str(tmp_path / "cache")
    data.name = f"npz:{tmp_path / 'data.npz'}"
    return data


@pytest.fixture
def save(tmp_path):
    return lambda **arrays: np.savez_compressed(tmp_path / "data.npz", **arrays)


def test_images_and_labels_with_every_fifth_held_out(config, save, capsys):
    save(images=IMAGES, labels=LABELS)
    train, probe, test = load(config)
    assert probe is train
    held = np.arange(23) % 5 == 4
    np.testing.assert_array_equal(train.images, IMAGES[~held])
    np.testing.assert_array_equal(test.images, IMAGES[held])
    np.testing.assert_array_equal(train.labels, LABELS[~held])
    np.testing.assert_array_equal(test.labels, LABELS[held])
    assert "every fifth" in capsys.readouterr().out


def test_images_alone_have_no_labels_and_gray_ones_one_channel(config, save, capsys):
    save(x=IMAGES[..., 0])
    train, probe, test = load(config)
    assert (train.labels, test, probe is train) == (None, None, True)
    np.testing.assert_array_equal(train.images, IMAGES[..., :1])
    assert "no labels" in capsys.readouterr().out


@pytest.mark.parametrize("names", ["{}_images {}_labels", "x_{} y_{}"])
def test_splits_by_medmnist_s_names_and_keras_s(config, save, names):
    parts = {"train": slice(10), "val": slice(10, 16), "test": slice(16, 23)}
    arrays = {}
    for name, part in parts.items():
        images, labels = names.format(name, name).split()
        arrays |= {images: IMAGES[part], labels: LABELS[part, None]}
    save(**arrays)
    train, probe, test = load(config)
    np.testing.assert_array_equal(train.images, IMAGES[:10])
    np.testing.assert_array_equal(test.images, IMAGES[16:])
    np.testing.assert_array_equal(test.labels, LABELS[16:])
    config.probe_split, config.test_split = "val", "train"
    train, probe, test = load(config)
    np.testing.assert_array_equal(probe.images, IMAGES[10:16])
    np.testing.assert_array_equal(test.images, IMAGES[:10])
    assert set(load(config).facts()) == {"train", "probe", "test"}
    config.test_split = "holdout"
    with pytest.raises(
        ValueError, match=r"no split 'holdout'.*test_split to one of: train, val, test"
    ):
        load(config)


def test_a_file_that_is_not_right_is_refused_with_what_it_should_be(config, save, tmp_path):
    wrong = {
        "holds pictures, and no images": {"pictures": IMAGES},
        r"images of .* is float64 \[23, 6, 5, 3\]; it must be uint8": {"images": IMAGES / 255},
        r"is uint8 \[23, 3, 6, 5\]": {"images": IMAGES.transpose(0, 3, 1, 2)},
        "labels of .* must be 23 integers": {"images": IMAGES, "labels": LABELS[:-1]},
        "labels of .* must be 23 integers from 0": {"images": IMAGES, "labels": LABELS - 1},
        "cannot be read as .npz": {"images": np.array([{}], object)},
    }
    for message, arrays in wrong.items():
        np.savez(tmp_path / "data.npz", **arrays)
        sources_files_cache_clear()
        with pytest.raises(ValueError, match=message):
            load(config)
    whole = (tmp_path / "data.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        (tmp_path / "data.npz").write_bytes(content)
        sources_files_cache_clear()
        with pytest.raises(ValueError, match="cannot be read as .npz"):
            load(config)
    config.name = "npz:/no/where.npz"
    with pytest.raises(ValueError, match=r"There is no /no/where.npz"):
        load(config)


def sources_files_cache_clear():
    from sslx.data import files

    files._open.cache_clear()


def test_records_of_image_files_from_one_file_or_a_folder(config, tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    for part in range(2):
        writer = ArrayRecordWriter(str(folder / f"images-{part}.array_record"), "group_size:1")
        for image in IMAGES[part * 10 : part * 10 + 10]:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            writer.write(buffer.getvalue())
        writer.close()
    config.name = f"array_record:{folder}"
    train, _, test = load(config)
    assert (train.labels, test) == (None, None)
    np.testing.assert_array_equal(train.images, IMAGES[:20])
    config.decoded_gib = 0.0
    np.testing.assert_array_equal(load(config).train.images[3:15], IMAGES[3:15])
    config.name = f"array_record:{folder / 'images-1.array_record'}"
    np.testing.assert_array_equal(load(config).train.images[:], IMAGES[10:20])
    (folder / "images-1.array_record").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="damaged, or no array_record file"):
        load(config)
    config.name = f"array_record:{tmp_path / 'cache'}"
    with pytest.raises(ValueError, match=r"neither a TFDS data set .* nor array_record files"):
        load(config)
