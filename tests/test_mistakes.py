"""A user's mistakes: each gets one line that says what is wrong and what to type."""

import re

import pytest
from PIL import Image

from tests.commands import RECIPE, run, train

MISTAKES = {
    "no recipe": ((), r"--config is missing: say which recipe"),
    "missing recipe": (
        ("--config=configs/digit.py:diet",),
        r"no file configs/digit\.py\. Did you mean 'configs/digits\.py'\?",
    ),
    "unknown field": (
        (RECIPE, "--config.optimizer.learning_rat=1"),
        r"learning_rat'\. Did you mean 'learning_rate'\?",
    ),
    "unknown method field": ((RECIPE, "--config.method.smoothing=1"), r"no field 'smoothing'"),
    "wrong type": (
        (RECIPE, "--config.batch_size=many"),
        r"--config\.batch_size takes a number, not 'many'",
    ),
    "unknown flag": ((RECIPE, "--rnu=x"), r"Unknown command line flag 'rnu'\. Did you mean: run"),
    "stray word": ((RECIPE, "digits"), r"'digits' is not understood"),
    "unknown method": (
        (RECIPE, "--config.method.name=dite"),
        r"Did you mean 'diet'\? sslx/methods has: barlow_twins, byol, data2vec, diet, dino, ijepa, "
        r"moco",
    ),
    "unknown model": (
        (RECIPE, "--config.model.variant=resnet19"),
        r"config\.model\.variant is 'resnet19'; it takes resnet18",
    ),
    "unknown optimizer": ((RECIPE, "--config.optimizer.name=adam"), r"it takes adamw, sgd, lars"),
    "unknown data": (
        (RECIPE, "--config.data.name=digit"),
        r"no data set 'digit'.*Did you mean 'digits'\?",
    ),
    "odd patches": (
        ("--config=configs/digits.py:dino", "--config.model.patch=3"),
        r"8 x 8 pixels cannot be cut into patches of 3 x 3: choose --config\.model\.patch",
    ),
    "too few patches for the masks": (
        ("--config=configs/digits.py:ijepa", "--config.masks.min_keep=17"),
        r"config\.masks\.min_keep is 17, but on a grid of 4 x 4 patches",
    ),
    "large batch": (
        (RECIPE, "--config.batch_size=2000"),
        r"batch_size is 2000, but .* has 1437 images",
    ),
    "odd batch": (
        (RECIPE, "--config.devices=3"),
        r"128 cannot be split evenly over 3 devices.*batch_size=126 or 129",
    ),
    "no duration": ((RECIPE, "--config.duration=long"), r"'long' is no duration"),
    "long warm-up": (
        (RECIPE, "--config.optimizer.warmup=900 epochs"),
        r"Shorten --config\.optimizer\.warmup",
    ),
    "bad crop": (
        (RECIPE, "--config.views.crop.area=(0.5,2.0)"),
        r"area is \(0\.5, 2\.0\); it must be \(low, high\) with 0 < low",
    ),
    "too few views": (
        (RECIPE, "--config.monitor.lidar_views=1"),
        r"LiDAR of 200 images with 1 views is not defined",
    ),
    "unknown head": (
        (RECIPE, "--config.method.head=blocks"),
        r"head is 'blocks'; it takes full, blockwise",
    ),
    "blockwise with sgd": (
        (RECIPE, "--config.method.head=blockwise", "--config.optimizer.name=sgd"),
        r"needs --config\.optimizer\.name=adamw .* or --config\.method\.head=full",
    ),
    "too many negatives": (
        ("--config=configs/digits.py:sdiet", "--config.method.negatives=2000"),
        r"2000 images beside a batch of 128 are requested, but the training split has 1437: use 0 "
        r"to 1309",
    ),
    "bad keep": ((RECIPE, "--config.checkpoint.keep=some"), r"config\.checkpoint\.keep is 'some'"),
}


def assert_one_line(output: str, message: str) -> None:
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in output


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_clear_line_and_exit_code_2(mistake, cache, tmp_path):
    words, message = MISTAKES[mistake]
    assert_one_line(run(cache, "train.py", f"--run={tmp_path / 'run'}", *words, expect=2), message)


def test_bad_images_get_one_clear_line(cache, tmp_path):
    folder = tmp_path / "images/cat"
    folder.mkdir(parents=True)
    words = (
        "train.py",
        RECIPE,
        f"--run={tmp_path / 'run'}",
        f"--config.data.name=folder:{folder.parent}",
    )
    assert_one_line(run(cache, *words, expect=2), r"There are no images in .*images")
    (folder / "broken.png").write_bytes(b"not an image")
    assert_one_line(
        run(cache, *words, expect=2),
        r"has no readable image: .*broken\.png cannot be read as an image",
    )
    Image.new("RGB", (8, 8)).save(folder / "whole.png")
    assert_one_line(
        run(cache, *words, expect=2), r"broken\.png cannot be read as an image.*on_corrupt=skip"
    )


def test_another_config_in_the_same_folder_is_refused_with_what_differs(finished, cache):
    before = (finished[0] / "config.json").read_bytes()
    output = train(cache, finished[0], "--config.optimizer.learning_rate=0.5", expect=2)
    assert_one_line(
        output,
        r"differs: optimizer\.learning_rate is 0\.003 there, 0\.5 here\. Choose another folder",
    )
    assert (finished[0] / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"Give either --run, as in --run=runs"),
        (("--run=a", "--runs=b"), r"Give either --run"),
        (("--runs=runs/none*",), r"--runs=runs/none\* matches no run\. Type it in quotes"),
        (("--run=runs/none",), r"runs/none is no run folder"),
        (("--run=FINISHED", "--metrics=lidra"), r"--metrics is 'lidra'; it takes lidar"),
        (("--run=FINISHED", "--protocol=sgd"), r"--protocol is 'sgd'; it takes"),
        (
            ("--run=FINISHED", "--checkpoint=7"),
            r"--checkpoint is '7'; it takes all, last, 0, 2, 4",
        ),
        (
            ("--run=FINISHED", "--lidar_views=1"),
            r"LiDAR of 1000 images with 1 views is not defined.*--lidar_views",
        ),
        (("--run=FINISHED", "--lidar_images=1"), r"LiDAR of 1 images"),
        (
            ("--run=FINISHED", "--features_of=teacher"),
            r"--features_of=teacher is not for diet: it has no config\.method",
        ),
    ],
)
def test_mistakes_of_eval(words, message, finished, cache):
    words = [word.replace("FINISHED", str(finished[0])) for word in words]
    assert_one_line(run(cache, "eval.py", *words, expect=2), message)


@pytest.mark.parametrize("name", ["train.py", "eval.py"])
def test_help_shows_a_command_to_copy(name, cache):
    output = run(cache, name, "--help", expect=1)  # absl's exit code of --help
    assert f"python {name} --" in output
    assert "--run" in output
