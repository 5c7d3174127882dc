"""Files that other processes may read at any time: written whole, read without a cut line."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that no reader ever sees a part of it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.replace(path)


def plain(tree: Any) -> Any:
    """Return the tree as JSON has it: lists for tuples, null for NaN and infinity."""
    if isinstance(tree, dict):
        return {str(name): plain(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    if isinstance(tree, (np.generic, np.ndarray)):
        return plain(tree.tolist())
    if isinstance(tree, float):
        return float(tree) if math.isfinite(tree) else None
    return tree if tree is None or isinstance(tree, (bool, int, str)) else str(tree)


def to_json(tree: Any, indent: int | None = None) -> str:
    """Return `plain(tree)` as text."""
    return json.dumps(plain(tree), indent=indent, allow_nan=False)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add the record to a file with one JSON object a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(to_json(record) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file with one JSON object a line, none if it does not exist.

    A line that a kill cut short is left out.
    """
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
