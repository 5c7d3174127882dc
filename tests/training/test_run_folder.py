import pytest

from configs import base
from sslx.training.run_folder import choose_features, open_run, read_config

DATA = {"train": {"count": 10, "hash": "abc"}, "test": None}


@pytest.fixture
def config():
    config = base.get_config()
    config.views = {"crop": base.crop(8).to_dict()}
    return config


def test_a_run_is_reopened_with_the_same_config_and_data_only(tmp_path, config):
    open_run(tmp_path / "run", config, DATA)
    open_run(tmp_path / "run", config, DATA)
    config.log.every = "7 steps"  # changes what is shown, not what is computed
    open_run(tmp_path / "run", config, DATA)
    with pytest.raises(ValueError, match=r"differs: train\.hash is 'abc' there, 'xyz' here"):
        open_run(tmp_path / "run", config, {"train": {"count": 10, "hash": "xyz"}, "test": None})
    config.optimizer.b1, config.seed = 0.5, 9
    with pytest.raises(
        ValueError,
        match=r"optimizer\.b1 is 0\.9 there, 0\.5 here; seed is 0 there, 9 here.*--run=runs/NAME",
    ):
        open_run(tmp_path / "run", config, DATA)


def test_the_config_comes_back_as_it_was(tmp_path, config):
    open_run(tmp_path / "run", config, DATA)
    assert read_config(tmp_path / "run").to_dict() == config.to_dict()


def test_what_is_no_run_is_said_with_the_runs_beside_it(tmp_path, config):
    open_run(tmp_path / "one", config, DATA)
    with pytest.raises(ValueError, match=r"two is no run folder.*Runs there: .*one"):
        read_config(tmp_path / "two")


def test_what_the_features_are_read_from_can_be_chosen_after_training_where_there_is_a_choice():
    config = base.get_config()
    config.method = base.method("ijepa")
    assert choose_features(config, features_of=None, pool=None) == [
        "features: features_of context, pool as config.model"
    ]
    said = choose_features(config, features_of="target", pool="mean")
    assert said == ["features: features_of target, pool mean"]
    assert (config.method.features_of, config.method.pool) == ("target", "mean")
    config.method = base.method("diet")
    assert choose_features(config, features_of=None, pool=None) == []
    with pytest.raises(
        ValueError, match=r"--pool=mean is not for diet: it has no config\.method\.pool"
    ):
        choose_features(config, features_of=None, pool="mean")
