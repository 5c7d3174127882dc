"""A run's folder: what was run, on what, with which data; and whether it may be continued."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from sslx.files import append_line, plain, to_json, write_atomically

# Fields that may differ when a run is continued: they change what is shown or kept, not what is
# computed.
PLACES = ("data.dir", "data.cache", "data.resident_gib", "data.decoded_gib", "data.workers")
FREE = ("log.", "checkpoint.", "monitor.", "evaluation.", "devices", *PLACES)
PACKAGES = "jax jaxlib flax optax orbax-checkpoint tensorflow-datasets ml-collections numpy pillow"


def open_run(folder: Path, config: ConfigDict, data: dict[str, Any]) -> None:
    """Create the run folder, or check that it belongs to this config and data.

    Raises ValueError naming the fields that differ.
    """
    path = folder / "config.json"
    if path.exists():
        check_same(folder, config)
        _compare(folder, json.loads((folder / "data.json").read_text()), data)
    if jax.process_index() == 0:
        if not path.exists():
            # The config comes last: a folder with a config.json is complete.
            write_atomically(folder / "data.json", to_json(data, indent=1))
            write_atomically(path, to_json(config.to_dict(), indent=1))
        append_line(folder / "environment.jsonl", _environment())  # one for each start of the run


def check_same(folder: Path, config: ConfigDict) -> None:
    """Raise ValueError with the fields that differ if `folder` has a run of another config."""
    _compare(folder, json.loads((folder / "config.json").read_text()), config.to_dict())


def read_config(folder: Path) -> ConfigDict:
    """Read the resolved config of a run; raises ValueError when `folder` is no run."""
    path = folder / "config.json"
    if not path.exists():
        runs = sorted(str(config.parent) for config in folder.parent.glob("*/config.json"))
        known = f" Runs there: {', '.join(runs[:8])}." if runs else ""
        raise ValueError(
            f"{folder} is no run folder (it has no config.json).{known} "
            "Train one: python train.py --config=CONFIG"
        )
    return ConfigDict(_with_tuples(json.loads(path.read_text())))


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return fields by their path: {"optimizer": {"b1": 0.9}} becomes {"optimizer.b1": 0.9}."""
    fields: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        fields |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return fields


def choose_features(config: ConfigDict, **chosen: str | None) -> list[str]:
    """Set fields of `config.method` such as features_of and pool, and describe what they are then.

    None leaves a field as it is. Raises ValueError for a method without the field.
    """
    for name, value in chosen.items():
        if value is None:
            continue
        if name not in config.method:
            raise ValueError(
                f"--{name}={value} is not for {config.method.name}: it has no config.method.{name}."
            )
        config.method[name] = value
    names = [name for name in chosen if name in config.method]
    values = [f"{name} {config.method[name] or 'as config.model'}" for name in names]
    return [f"features: {', '.join(values)}"] if values else []


def _compare(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    old, new = flat(there), flat(plain(here))
    names = [
        name for name in old | new if not name.startswith(FREE) and old.get(name) != new.get(name)
    ]
    if names:
        differences = "; ".join(
            f"{name} is {old.get(name)!r} there, {new.get(name)!r} here" for name in names
        )
        raise ValueError(
            f"{folder} holds a run that differs: {differences}. "
            "Choose another folder with --run=runs/NAME, or the old values."
        )


def _environment() -> dict[str, Any]:
    changed = " with changes" if _git("status", "--porcelain") else ""
    devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    return {
        "command": sys.argv,
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES.split()},
        "devices": devices,
        "processes": jax.process_count(),
        "git": _git("rev-parse", "HEAD") + changed,
    }


def _git(*words: str) -> str:
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _with_tuples(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _with_tuples(value) for name, value in tree.items()}
    return tuple(_with_tuples(value) for value in tree) if isinstance(tree, list) else tree
