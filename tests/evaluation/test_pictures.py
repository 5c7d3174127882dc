"""`eval.py --pictures`: which are drawn of which method, and what they show."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from sslx.data.source import Source, Sources
from sslx.evaluation import pictures
from sslx.evaluation.features import Extractor
from sslx.training.state import model_of
from sslx.views.masks import MultiBlock, draw_masks
from tests.methods.harness import IMAGES, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("simclr", {"neighbours"}),
        ("dino", {"neighbours", "attention", "patches"}),
        ("ijepa", {"neighbours", "attention", "patches", "masks"}),
    ],
)
def test_what_is_drawn_of_a_method(name, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "SHOWN", 3)
    monkeypatch.setattr(pictures, "NEIGHBOURS", 4)
    run = set_up(recipe(name), 1)
    model = model_of(run.state.params, run.state.extra)
    source = Source(IMAGES, None, {"name": "test"})
    data = Sources(source, source, None)
    extractor = Extractor(run.method, run.mesh, 128)
    with jax.set_mesh(run.mesh):
        paths = pictures.draw_pictures(run.method, model, extractor, data, 7, tmp_path)
    assert {path.name for path in paths} == {f"{name}-7.png" for name in drawn}
    for path in paths:
        pixels = plt.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 0.04


def test_masks_of_both_kinds_are_drawn(tmp_path):
    hidden = np.random.default_rng(0).random((3, 16)) < 0.5
    images = np.random.default_rng(0).random((3, 8, 8, 1))
    pictures._grid(*pictures._masks(hidden, 4, images), tmp_path / "a.png")
    masks = draw_masks(jax.random.key(0), 3, MultiBlock(4, targets=2, min_keep=4))
    pictures._grid(*pictures._masks(masks, 4, images), tmp_path / "b.png")
    two, four = (plt.imread(tmp_path / f"{name}.png").shape[1] for name in "ab")
    assert four > 1.9 * two


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
