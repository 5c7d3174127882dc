"""The fields of a run with their defaults, from which every recipe starts.

Fields and defaults of methods, models, crops, masks and groups are those of the code: the functions
below read them from the dataclass or the signature, where a comment says what each field means.
Durations are text: "200 epochs", "5000 steps", "1e6 examples" or "5%" of the whole run; "0 steps"
switches a thing off.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from sslx.evaluation.settings import Settings
from sslx.experiment import import_method
from sslx.hints import check_fields, did_you_mean
from sslx.models import resnet as resnets
from sslx.models import vit as transformers
from sslx.training.optim import Group
from sslx.views.crop import Crop
from sslx.views.masks import BlockWise, MultiBlock


def get_config() -> ConfigDict:
    """Return the defaults; `method` and `views` are the recipe's own."""
    config = ConfigDict()
    config.seed = 0
    config.duration = "100 epochs"
    config.batch_size = 256  # of the whole mesh; there is no per-device batch
    config.devices = 0  # 0: all accelerators; on CPU one device per core

    config.data = ConfigDict()
    # A name that `python -m sslx.datasets --list` shows, folder:PATH, npz:FILE, array_record:PATH
    config.data.name = "digits"
    config.data.dir = ""  # where TFDS keeps its data; "": $TFDS_DATA_DIR or ~/tensorflow_datasets
    config.data.cache = ""  # where decoded images are kept; "": sslx_decoded in `dir`
    # Splits as TFDS names and slices them, such as train[:90%]; empty: the data set's own
    config.data.train_split = ""  # else train
    config.data.probe_split = ""  # what probes learn from; else what pretrains
    config.data.test_split = ""  # else test, else validation, else none
    config.data.image_size = 0  # pixels of the stored square image; 0: as it is (all of one size)
    config.data.channels = 3  # of image files: 3 colour, 1 gray
    config.data.on_corrupt = "refuse"  # an unreadable image: refuse or skip
    config.data.resident_gib = 2.0  # a decoded training split up to this lives in device memory
    # Up to this a split is kept decoded on disk; above, it is decoded as it is used
    config.data.decoded_gib = 100.0
    config.data.workers = 0  # processes that decode then; 0: threads

    config.model = resnet(stem="small")  # or vit(...)

    config.optimizer = ConfigDict()
    # adamw, sgd, lars (VICReg's), lars_simclr, larc (SwAV's, solo-learn's)
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.reference_batch = 0  # the rate is times batch_size / reference_batch; 0: as is
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_end = -1.0  # reached by a cosine over the run; below 0: constant
    config.optimizer.no_decay = ""  # regular expression of parameter paths without decay
    config.optimizer.decay_min_ndim = 0  # 2: biases and norm scales without decay
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.momentum = 0.9  # of sgd, lars, lars_simclr and larc
    config.optimizer.nesterov = False
    config.optimizer.trust = 0.001  # of lars, lars_simclr and larc: the trust ratio's factor
    config.optimizer.trust_clip = False  # of larc: no tensor's rate exceeds the learning rate
    config.optimizer.clip_norm = 0.0  # of the global gradient norm; 0: off
    config.optimizer.clip_tensor_norm = 0.0  # of each tensor's gradient, before that; 0: off
    # cosine, linspace (DINO's), epochs (MoCo's), shifted (I-JEPA's), tri_phase
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = "10 epochs"
    # Fractions of the learning rate: the warm-up's first value, and the schedule's last
    config.optimizer.warmup_start = 0.0
    config.optimizer.final = 0.0
    config.optimizer.cooldown = "15%"  # of tri_phase: the line to `final` at the end
    # name: group(...); a parameter belongs to the first group that matches its path
    config.optimizer.groups = ConfigDict(sort_keys=False)

    config.monitor = ConfigDict()  # during training; images are augmented for LiDAR alone
    config.monitor.every = "10%"
    config.monitor.images = 1000  # for RankMe and the standard deviation; the kNN's reference set
    config.monitor.lidar_images = 200
    config.monitor.lidar_views = 8

    config.checkpoint = ConfigDict()
    config.checkpoint.every = "10%"
    config.checkpoint.keep = "all"  # all, or latest+best
    config.checkpoint.best = "lidar/representation"  # the monitored value whose highest is kept

    defaults = Settings()
    config.evaluation = ConfigDict()  # what eval.py uses where a flag is not given
    config.evaluation.batch_size = 512
    config.evaluation.images = defaults.images  # for RankMe
    config.evaluation.lidar_images = defaults.lidar_images
    config.evaluation.lidar_views = defaults.lidar_views
    config.evaluation.protocol = defaults.protocol  # of the linear probe: lidar, diet, lbfgs

    config.log = ConfigDict()
    config.log.every = "50 steps"
    config.log.tensorboard = False
    return config


def method(name: str, **changes: Any) -> ConfigDict:
    """Return every field of a method, for `config.method`.

    `name` is a file in `sslx/methods/`, or the dotted name of a module of yours. Fields without a
    default are what sslx/experiment.py passes in. Raises ValueError for an unknown name or field.
    """
    return _fields(f"method {name!r}", import_method(name).Method, changes, name=name)


def resnet(**changes: Any) -> ConfigDict:
    """Return every field of a ResNet, for `config.model`; see sslx/models/resnet.py."""
    return _fields("resnet", resnets.network, changes, name="resnet")


def vit(**changes: Any) -> ConfigDict:
    """Return every field of a vision transformer, for `config.model`; see sslx/models/vit.py."""
    return _fields("vit", transformers.network, changes, name="vit")


def crop(size: int, **changes: Any) -> ConfigDict:
    """Return every field of one view of `size` pixels, for `config.views`: sslx/views/crop.py."""
    return _fields("crop", Crop, changes, size=size)


def multi_block(**changes: Any) -> ConfigDict:
    """Return every field of I-JEPA's masks, for `config.masks`; see sslx/views/masks.py."""
    return _fields("multi_block", MultiBlock, changes)


def block_wise(count: int, **changes: Any) -> ConfigDict:
    """Return every field of data2vec's masks, which hide `count` patches (BEiT's: 120 of 196)."""
    return _fields("block_wise", BlockWise, changes, count=count)


def group(paths: str, **changes: Any) -> ConfigDict:
    """Return every field of a group of parameters, for `config.optimizer.groups.NAME`.

    `paths` is a regular expression that a parameter's path, such as encoder/stem/kernel, contains.
    """
    return _fields("group", Group, changes, paths=paths)


def pick(recipe: str, page: Mapping[str, Any]) -> ConfigDict:
    """Return the config of a page's recipe; every public function of a page is one.

    Args:
        recipe: its name; what stands after a comma is its argument, as in "diet,2".
        page: the page's `globals()`.

    Raises ValueError for a missing or unknown name, with the page's recipes.
    """
    name, _, argument = recipe.partition(",")
    recipes = recipes_of(page)
    path = os.path.relpath(page["__file__"])
    if name not in recipes:
        problem = f"There is no recipe {path}:{name}." if name else f"{path} needs a recipe."
        raise ValueError(
            f"{problem}{did_you_mean(name, recipes)} Type --config={path}:NAME with one of: "
            f"{', '.join(recipes)}."
        )
    if not argument:
        return recipes[name]()
    if not inspect.signature(recipes[name]).parameters:
        raise ValueError(
            f"The recipe {path}:{name} takes no argument, and {argument!r} was given: type "
            f"--config={path}:{name}."
        )
    return recipes[name](argument)


def recipes_of(page: Mapping[str, Any]) -> dict[str, Callable[..., ConfigDict]]:
    """Return the recipes of a page by name: its public functions, apart from `get_config`."""
    return {
        name: value
        for name, value in page.items()
        if inspect.isfunction(value) and value.__module__ == page["__name__"]
        if name != "get_config" and not name.startswith("_")
    }


def _fields(
    where: str, code: Callable[..., Any], changes: Mapping[str, Any], **required: Any
) -> ConfigDict:
    """The parameters of `code` that have a default, with `changes`, beside the required ones."""
    parameters = inspect.signature(code).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    check_fields(where, changes, list(defaults))
    fields = ConfigDict(defaults | required)
    fields.update(changes)  # which refuses another type
    return fields
