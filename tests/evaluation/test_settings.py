"""Settings: what is allowed, and how flags and JSON become one."""

import json

import pytest

from configs import base
from sslx.evaluation.settings import Settings, parse_lidar, settings_from_json

SETTINGS = Settings(("lidar", "rankme"), ("linear",), "lbfgs", 1000, 200, 8, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ("lidra",)}, "--metrics is 'lidra'; it takes lidar, debiased_lidar, rankme"),
        ({"probes": ("svm",)}, "--probe is 'svm'; it takes linear, knn"),
        ({"protocol": "moco"}, "--protocol is 'moco'; it takes lidar, diet, lbfgs"),
        ({"lidar_images": 1}, "LiDAR of 1 images"),
        ({"metrics": ("alignment",), "lidar_views": 1}, "LiDAR of 200 images with 1 views"),
    ],
)
def test_settings_are_checked(change, message):
    SETTINGS.check()
    with pytest.raises(ValueError, match=message):
        SETTINGS._replace(**change).check()


def test_the_number_of_views_matters_only_to_metrics_of_views():
    SETTINGS._replace(metrics=("rankme",), lidar_views=1).check()
    assert not SETTINGS._replace(metrics=("rankme", "nesum")).needs_views()
    assert SETTINGS._replace(metrics=("rankme", "augmented_rankme")).needs_views()


def test_json_gives_settings_back_in_any_order_and_none_for_other_fields():
    fields = json.loads(json.dumps(SETTINGS._asdict()))
    assert settings_from_json(fields) == SETTINGS
    assert settings_from_json(dict(reversed(fields.items()))) == SETTINGS
    assert settings_from_json(fields | {"crops": 2}) is None
    assert settings_from_json({name: fields[name] for name in list(fields)[:-1]}) is None


def test_the_default_is_that_of_a_runs_config():
    config = base.get_config().evaluation
    for name in ("protocol", "images", "lidar_images", "lidar_views"):
        assert getattr(Settings(), name) == config[name]


def test_lidar_is_given_as_n_x_q_or_by_name():
    assert parse_lidar("500x50") == (500, 50)
    assert parse_lidar("masking") == (1000, 50)
    for text in ("500", "500x", "axb", "mask", "-5x2"):
        with pytest.raises(ValueError, match="takes n x q such as 1000x50, or masking, joint"):
            parse_lidar(text)
