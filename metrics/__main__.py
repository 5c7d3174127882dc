"""Metrics of saved embeddings, without a line of code.

    python -m metrics embeddings.npz
    python -m metrics embeddings.npz --metrics=lidar,rankme --set lidar.delta=1e-6
    python -m metrics embeddings.npz --key=features --json

The file is a .npy, or a .npz with one array or with the array's name in --key. An array [n, d]
holds one embedding of each image; [n, q, d] holds q views of each, which lidar, augmented_rankme
and alignment need."""

import argparse
import ast
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from metrics.label_free import label_free
from metrics.table import METRICS


def main(arguments: list[str] | None = None) -> int:
    """Print the metrics; return 0, or 2 with one line on stderr for input that is refused."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m metrics", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("file", type=Path, help=".npy or .npz file of floating-point embeddings")
    parser.add_argument("--key", help="name of the array in the .npz file")
    names = f"comma-separated, of {', '.join(METRICS)}; default: all that apply"
    parser.add_argument("--metrics", help=names)
    option = "METRIC.OPTION=VALUE"
    parser.add_argument("--set", action="append", default=[], metavar=option, help="repeatable")
    parser.add_argument("--json", action="store_true", help="print one JSON object, not lines")
    flags = parser.parse_args(arguments)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        embeddings = read(flags.file, flags.key)
        metrics = None if flags.metrics is None else flags.metrics.split(",")
        scores = label_free(embeddings, metrics, options=_options(flags.set))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if flags.json:
        values = {name: {"value": score, **score.settings} for name, score in scores.items()}
        print(json.dumps(values))
        return 0
    for name, score in scores.items():
        settings = ", ".join(f"{key}={value}" for key, value in score.settings.items())
        print(f"{name:20}{score:12.6g}   {settings}")
    return 0


def read(path: Path, key: str | None) -> np.ndarray:
    """Return the array of a .npy or .npz file.

    Raises ValueError for a file of another kind, of Python objects, or without the array `key`, and
    OSError if it cannot be read.
    """
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}.") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a .npy or .npz file of plain numbers ({error}).") from None
    if isinstance(content, np.ndarray):
        return content
    with content:
        names = content.files
        if key is None and len(names) == 1:
            key = names[0]
        if key not in names:
            reason = "Name the array with --key" if key is None else f"{path} has no array {key!r}"
            raise ValueError(f"{reason}; there are {', '.join(names) or 'none'}.")
        try:
            return content[key]
        except ValueError as error:
            raise ValueError(f"the array {key!r} of {path} cannot be read ({error}).") from None


def _options(texts: list[str]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        metric, _, option = name.partition(".")
        if not option or not value:
            raise ValueError(
                f"--set takes METRIC.OPTION=VALUE, such as lidar.delta=1e-6, but got {text!r}."
            )
        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed = value  # a word, such as relative
        options.setdefault(metric, {})[option] = parsed
    return options


if __name__ == "__main__":
    sys.exit(main())
