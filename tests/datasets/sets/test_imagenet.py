"""ImageNet, ImageNet-100 and Tiny ImageNet from small archives and from folders."""

import io
import tarfile
import zipfile

import pytest

from sslx.datasets.official import DATA_SETS
from tests.datasets.sets import fakes

IMAGENET2012, IMAGENET100, TINY_IMAGENET = (
    DATA_SETS[name] for name in ("imagenet2012", "imagenet100", "tiny_imagenet")
)
TRAIN, VALIDATION = (archive.file for archive in IMAGENET2012.archives)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """The folder of ImageNet's two archives, and what is in them."""
    folder = tmp_path_factory.mktemp("imagenet")
    return folder, fakes.fake_imagenet2012(folder, validation=60)


def hundred(made):
    """What of `made` belongs to ImageNet-100, with its labels."""
    synsets, _ = fakes.imagenet_lists()
    classes = IMAGENET100.read({TRAIN: None, VALIDATION: None}).classes
    numbers = {synsets.index(synset): number for number, synset in enumerate(classes)}
    return {
        split: [(key, image, numbers[label]) for key, image, label in examples if label in numbers]
        for split, examples in made.items()
    }


def test_both_tars_give_what_was_put_in(imagenet):
    fakes.assert_read(IMAGENET2012, *imagenet)


def test_the_hundred_classes_come_from_the_same_tars(imagenet):
    folder, made = imagenet
    made = hundred(made)
    assert len(made["train"]) == 100
    assert len(made["validation"]) > 2
    fakes.assert_read(IMAGENET100, folder, made)


def test_the_list_of_the_hundred_classes():
    synsets, labels = fakes.imagenet_lists()
    classes = IMAGENET100.read({TRAIN: None, VALIDATION: None}).classes
    assert len(set(classes)) == 100
    assert list(classes) == sorted(classes)
    assert (classes[0], classes[99]) == ("n01558993", "n13040303")
    assert set(classes) <= set(synsets)
    assert sum(label in classes for label in labels) == IMAGENET100.sizes["validation"]


def test_reading_opens_nothing_before_a_split_is_consumed(tmp_path):
    contents = IMAGENET2012.read(fakes.paths(IMAGENET2012, tmp_path))
    assert len(contents.classes) == IMAGENET2012.classes == 1000
    for examples in contents.splits.values():
        with pytest.raises(FileNotFoundError):
            next(examples())


def unpack(made, folder, flat):
    """The images as files, in class folders; with `flat`, the validation images without."""
    synsets, _ = fakes.imagenet_lists()
    for split, archive in (("train", TRAIN), ("validation", VALIDATION)):
        for name, content, label in made[split]:
            inside = folder / archive / ("" if flat and split == "validation" else synsets[label])
            inside.mkdir(parents=True, exist_ok=True)
            (inside / name).write_bytes(content)
    (folder / TRAIN / "n01440764" / "notes.txt").write_text("no image")


@pytest.mark.parametrize("flat", [True, False])
def test_folders_give_the_same_as_the_tars(imagenet, flat, tmp_path):
    made = imagenet[1]
    unpack(made, tmp_path, flat)
    fakes.assert_read(IMAGENET2012, tmp_path, made)
    fakes.assert_read(IMAGENET100, tmp_path, hundred(made))
    for file in (tmp_path / TRAIN / "n01531178").iterdir():
        file.unlink()
    reason = "it has no images of n01531178"
    assert fakes.error(IMAGENET2012, tmp_path) == (
        f"{tmp_path / TRAIN} is damaged or incomplete ({reason}). Fetch it again."
    )


def test_a_tar_that_ends_between_two_classes_is_noticed(imagenet, tmp_path):
    whole = (imagenet[0] / TRAIN).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        second = archive.getmembers()[1]
    (tmp_path / TRAIN).write_bytes(whole[: second.offset])
    assert "it has no images of n01443537" in fakes.error(IMAGENET2012, tmp_path)


@pytest.mark.parametrize("name", [TRAIN, VALIDATION])
def test_a_cut_tar_is_one_line(imagenet, name, tmp_path):
    for archive in (TRAIN, VALIDATION):
        whole = (imagenet[0] / archive).read_bytes()
        (tmp_path / archive).write_bytes(whole[:1100] if archive == name else whole)
    message = fakes.error(IMAGENET2012, tmp_path)
    assert (
        message
        == f"{tmp_path / name} is damaged or incomplete (unexpected end of data). Fetch it again."
    )


@pytest.mark.parametrize(
    "name", ["ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_00000000.JPEG", "cat.JPEG"]
)
def test_an_image_without_a_label_is_named(imagenet, name, tmp_path):
    (tmp_path / TRAIN).symlink_to(imagenet[0] / TRAIN)
    fakes.write_tar(tmp_path / VALIDATION, {name: fakes.jpeg(0)})
    assert f"({name} is none of the 50000 validation images). Fetch it" in fakes.error(
        IMAGENET2012, tmp_path
    )


def test_tiny_imagenet_gives_what_was_put_in(tmp_path):
    made = fakes.fake_tiny_imagenet(tmp_path)
    fakes.assert_read(TINY_IMAGENET, tmp_path, made)
    classes = TINY_IMAGENET.read(fakes.paths(TINY_IMAGENET, tmp_path)).classes
    assert classes == ("n01443537", "n01629819", "n02056570", "n04486054")


def test_tiny_imagenet_says_what_it_misses(tmp_path):
    fakes.fake_tiny_imagenet(tmp_path)
    path = tmp_path / TINY_IMAGENET.archives[0].file
    root = "tiny-imagenet-200"
    with zipfile.ZipFile(path) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    annotations = whole[f"{root}/val/val_annotations.txt"]
    cases = [
        ({f"{root}/wnids.txt": None}, f"it has no {root}/wnids.txt"),
        ({f"{root}/val/val_annotations.txt": None}, f"it has no {root}/val/val_annotations.txt"),
        (
            {
                f"{root}/val/val_annotations.txt": annotations.replace(
                    b"val_3.JPEG\t", b"val_3.JPEG\tn"
                )
            },
            "val_annotations.txt gives val_3.JPEG none of the 4 classes",
        ),
        (
            {f"{root}/val/val_annotations.txt": annotations.replace(b"val_3.", b"val_33.")},
            "val_annotations.txt gives val_3.JPEG none of the 4 classes",
        ),
        (
            {f"{root}/train/n00000001/images/a.JPEG": b"image"},
            "a.JPEG is of n00000001, which is none of the 4 classes",
        ),
        ({name: None for name in whole if "n02056570_" in name}, "it has no images of n02056570"),
    ]
    for changes, reason in cases:
        members = {
            name: content for name, content in (whole | changes).items() if content is not None
        }
        fakes.write_zip(path, members)
        assert (
            fakes.error(TINY_IMAGENET, tmp_path)
            == f"{path} is damaged or incomplete ({reason}). Fetch it again."
        )


def test_a_damaged_zip_is_one_line(tmp_path):
    fakes.fake_tiny_imagenet(tmp_path)
    path = tmp_path / TINY_IMAGENET.archives[0].file
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:3000] + b"damage" + whole[3006:]):
        path.write_bytes(content)
        message = fakes.error(TINY_IMAGENET, tmp_path)
        assert message.startswith(f"{path} is damaged or incomplete (")
        assert message.endswith("). Fetch it again.")
