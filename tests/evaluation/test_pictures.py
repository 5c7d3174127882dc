"""`eval.py --pictures`: which are drawn of which method, and what they show."""

import jax
import numpy as np
import pytest
from PIL import Image

from sslx.data.sources import Source
from sslx.evaluation import pictures
from sslx.evaluation.features import Extractor
from sslx.training.state import model_of
from tests.commands import LIGHT, SHORT, run
from tests.methods.harness import IMAGES, recipe, set_up


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("simclr", {"neighbours"}),
        ("dino", {"neighbours", "attention", "patches"}),
        ("data2vec", {"neighbours", "attention", "patches", "masks"}),
    ],
)
def test_what_is_drawn_of_a_method(name, drawn, tmp_path):
    run = set_up(recipe(name), 1)
    model, source = model_of(run.state.params, run.state.extra), Source(IMAGES, None, {"name": "test"})
    extractor = Extractor(run.method, run.mesh, 128)
    with jax.set_mesh(run.mesh):
        paths = pictures.draw_pictures(run.method, model, extractor, source, None, 7, tmp_path)
    assert {path.name for path in paths} == {f"{name}-7.png" for name in drawn}
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 10


def test_ijepas_pictures_come_with_the_judgement(tmp_path):
    folder = f"--run={tmp_path}/run"
    run(tmp_path, "train.py", "--config=configs/digits/ijepa.py", folder, *SHORT, *LIGHT)
    words = ("--checkpoint=last", "--metrics=rankme", "--probe=", "--features_of=predictor", "--pictures")
    output = run(tmp_path, "eval.py", folder, *words)
    assert "drawn of step 20" in output
    assert "features: features_of predictor, pool as config.model" in output
    for name in ("neighbours", "attention", "patches", "masks"):
        assert (tmp_path / f"run/{name}-20.png").exists()


def test_hidden_patches_are_plain_and_seen_ones_are_the_image():
    image = np.random.default_rng(0).random((8, 8, 1))
    shown = np.zeros((4, 4), bool)
    shown[1, 2] = True
    only = pictures._only(image, shown)
    inside = only[2:4, 4:6]
    spread = (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(inside, np.broadcast_to(spread[2:4, 4:6], (2, 2, 3)))
    rest = np.delete(only.reshape(64, 3), [r * 8 + c for r in (2, 3) for c in (4, 5)], axis=0)
    assert len(np.unique(rest, axis=0)) == 1
