"""A run's folder: what was run, on what, with which data; and whether it may be continued."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

# Fields that may differ when a run is continued: they change what is shown or kept, not what is
# computed.
PLACES = ("data.dir", "data.cache", "data.resident_gib", "data.decoded_gib", "data.workers")
FREE = ("log.", "checkpoint.", "monitor.", "evaluation.", "devices", *PLACES)
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "ml-collections",
    "numpy",
    "pillow",
)


def open_run(folder: Path, config: ConfigDict, data: dict[str, Any]) -> None:
    """Create the run folder, or check that it belongs to this config and data.

    Raises ValueError naming the fields that differ.
    """
    resolved = _plain(config.to_dict())
    path = folder / "config.json"
    if path.exists():
        check_same(folder, config)
        _compare(folder, flat(json.loads((folder / "data.json").read_text())), flat(_plain(data)))
    folder.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        if not path.exists():
            # The config comes last: a folder with a config.json is complete.
            (folder / "data.json").write_text(json.dumps(data, indent=1))
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(resolved, indent=1))
            temporary.replace(path)
        with (folder / "environment.jsonl").open("a") as file:  # one line for each start of the run
            file.write(json.dumps(_environment()) + "\n")


def check_same(folder: Path, config: ConfigDict) -> None:
    """Raise ValueError, naming the fields that differ, when the run in `folder` is of another
    config.
    """
    there = json.loads((folder / "config.json").read_text())
    _compare(folder, flat(there), flat(_plain(config.to_dict())))


def read_config(folder: Path) -> ConfigDict:
    """The resolved config of a run; raises ValueError when `folder` is no run."""
    path = folder / "config.json"
    if not path.exists():
        runs = sorted(str(found.parent) for found in folder.parent.glob("*/config.json"))
        known = f" Runs there: {', '.join(runs[:8])}." if runs else ""
        raise ValueError(
            f"{folder} is no run folder (it has no config.json).{known} Train one: python train.py "
            "--config=CONFIG"
        )
    return ConfigDict(_tuples(json.loads(path.read_text())))


def choose_features(config: ConfigDict, **chosen: str | None) -> list[str]:
    """Set fields of `config.method` such as features_of and pool, where given, and say what they
    are then.

    Raises ValueError for a method without that field.
    """
    for name, value in chosen.items():
        if value is not None and name not in config.method:
            raise ValueError(
                f"--{name}={value} is not for {config.method.name}: it has no config.method.{name}."
            )
        if value is not None:
            config.method[name] = value
    has = [
        f"{name} {config.method[name] or 'as config.model'}"
        for name in chosen
        if name in config.method
    ]
    return [f"features: {', '.join(has)}"] if has else []


def _compare(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    names = [
        name
        for name in there | here
        if not name.startswith(FREE) and there.get(name) != here.get(name)
    ]
    if names:
        differences = "; ".join(
            f"{name} is {there.get(name)!r} there, {here.get(name)!r} here" for name in names
        )
        raise ValueError(
            f"{folder} holds a run that differs: {differences}. "
            "Choose another folder with --run=runs/NAME, or the old values."
        )


def _environment() -> dict[str, Any]:
    return {
        "command": sys.argv,
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "devices": [
            f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()
        ],
        "processes": jax.process_count(),
        "git": _git("rev-parse", "HEAD")
        + (" with changes" if _git("status", "--porcelain") else ""),
    }


def _git(*words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _plain(tree: Any) -> Any:
    """As JSON gives it back: tuples become lists."""
    return json.loads(
        json.dumps(
            tree,
            default=lambda value: value.item() if isinstance(value, np.generic) else str(value),
        )
    )


def _tuples(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _tuples(value) for name, value in tree.items()}
    return tuple(_tuples(value) for value in tree) if isinstance(tree, list) else tree


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their path: {"optimizer": {"b1": 0.9}} is {"optimizer.b1": 0.9}."""
    fields: dict[str, Any] = {}
    for name, value in tree.items():
        fields |= (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return fields
