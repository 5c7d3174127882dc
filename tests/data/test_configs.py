import dataclasses

from configs import common
from sslx.data.views import Crop


def test_the_configs_crop_has_the_fields_and_defaults_of_the_recipe():
    assert common.crop(32).to_dict() == dataclasses.asdict(Crop(32))
