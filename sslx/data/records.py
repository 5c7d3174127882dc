"""Data sets that `sslx.datasets` or TFDS has prepared as array_record; none is prepared here.

A prepared folder may hold `sslx.json`, in which `sslx.datasets` names the default splits.
"""

import contextlib
import functools
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslx.data.source import Content, Split, Splits, cache_dir, data_dir, named_splits
from sslx.files import to_json, write_atomically
from sslx.hints import did_you_mean

FORMAT = "array_record"  # of TFDS's formats, the one that is read without TensorFlow
INFO = "dataset_info.json"  # which TFDS writes into a prepared folder
NOTE = "sslx.json"  # beside it: {"train": ..., "probe": ..., "test": ...}, split expressions

# TFDS imports its parts when they are first used; two threads that do so at once can wait for each
# other for ever.
_OPENING = threading.Lock()


def splits(config: Any) -> Splits:
    """Return the splits of the data set `config.data.name`; ValueError if it is not prepared."""
    root = data_dir(config)
    folder = prepared_folder(config.name, root)
    if folder is None:
        hint = did_you_mean(config.name, prepared_names(root) - {config.name})
        option = f" --data_dir={config.dir}" if config.dir else ""
        raise ValueError(
            f"{config.name} is not prepared as {FORMAT} in {root}.{hint} Prepare it once: "
            f"python -m sslx.datasets {config.name}{option}. Or bring your own images: "
            "--config.data.name=folder:PATH"
        )
    note = folder / NOTE
    return splits_of(config, folder, json.loads(note.read_text()) if note.exists() else {})


def splits_of(config: Any, folder: Path, defaults: Mapping[str, str]) -> Splits:
    """Return the splits of a prepared folder that `config.data` names, or else `defaults`."""
    facts = _facts(config, folder)
    open_split = functools.partial(_split, config, facts)
    return named_splits(config, facts["splits"], open_split, defaults, sliced=True)


def prepared_folder(name: str, root: Path) -> Path | None:
    """Return the folder below `root` that holds the data set `name` as array_record, or None.

    A name may end in TFDS's /CONFIGURATION and :VERSION. Of several folders, those without a
    configuration come first, then those with a note, then the newest version. Raises ValueError
    where several configurations are prepared and `name` has none.
    """
    path, _, version = name.partition(":")
    folders: list[Path] = []
    for pattern in ("*", "*/*") if path else ():
        folders = folders or [
            info.parent
            for info in (root / path).glob(f"{pattern}/{INFO}")
            if version in ("", info.parent.name)
            and not info.parent.name.startswith("incomplete.")  # TFDS's name for what it writes
            and f'"{FORMAT}"' in info.read_text()
        ]
    folders = [folder for folder in folders if (folder / NOTE).exists()] or folders
    configurations = sorted({str(folder.parent.relative_to(root)) for folder in folders})
    if len(configurations) > 1:
        raise ValueError(
            f"{name} is prepared in several configurations. Choose one of them with "
            f"--config.data.name: {', '.join(configurations)}"
        )

    def numbers(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", folder.name)]

    return max(folders, key=numbers, default=None)


def prepared_names(root: Path) -> set[str]:
    """Return the names of the data sets that are prepared below `root`."""
    infos = [*root.glob(f"*/*/{INFO}"), *root.glob(f"*/*/*/{INFO}")]
    return {info.relative_to(root).parts[0] for info in infos}


def _split(config: Any, facts: dict[str, Any], expression: str) -> Split:
    source: Any = None

    def examples(numbers: Sequence[int]) -> list[dict[str, Any]]:
        nonlocal source
        try:
            if source is None:
                source = _open(facts, expression)
            return source.__getitems__(list(numbers))
        except Exception as error:  # TFDS's own, the reader's, or the file system's
            raise ValueError(
                f"{facts['folder']} is damaged ({str(error).splitlines()[0]}). Delete it and "
                "prepare it again."
            ) from error

    def read(numbers: Sequence[int]) -> list[Content]:
        return [(example["image"], int(example.get("label", -1))) for example in examples(numbers)]

    def where(number: int) -> str:
        file = examples([number])[0].get("file_name", b"").decode()
        return f"record {number} of {name}" + (f" ({file})" if file else "")

    name, identity = f"{config.name}/{expression}", f"{facts['identity']}|{expression}"
    size = facts["splits"].get(expression) or len(_open(facts, expression))
    return Split(name, identity, size, facts["classes"], facts["channels"], read, where)


def _open(facts: dict[str, Any], expression: str) -> Any:
    """TFDS's random access to the records of a split, with images still encoded."""
    with _OPENING:
        import tensorflow_datasets as tfds  # here, as it takes a while

        builder = tfds.builder_from_directory(facts["folder"])
        encoded = {name: tfds.decode.SkipDecoding() for name in facts["images"]}
        source = builder.as_data_source(expression, decoders=encoded)
        # The first read imports the rest. If it fails, so does the caller's, which explains it.
        with contextlib.suppress(Exception):
            source.__getitems__([0])
        return source


def _facts(config: Any, folder: Path) -> dict[str, Any]:
    """Split sizes, class names and more: what TFDS reports, kept in a file of the cache."""
    file = cache_dir(config) / f"{re.sub(r'[/:]', '_', config.name)[-80:]}.json"
    about = {"folder": str(folder), "stamp": (folder / INFO).stat().st_mtime_ns}
    kept = json.loads(file.read_text()) if file.exists() else {}
    if about.items() <= kept.items():
        return kept

    import tensorflow_datasets as tfds  # here, as it takes a while

    builder = tfds.builder_from_directory(folder)
    features, known = dict(builder.info.features), builder.info.splits.values()
    images = [name for name, kind in features.items() if isinstance(kind, tfds.features.Image)]
    if "image" not in images:
        raise ValueError(f"{builder.name} has no feature 'image': it has {', '.join(features)}.")
    sizes = [(split.name, split.num_examples, split.num_bytes) for split in known]
    facts = about | {
        "identity": f"{builder.info.full_name}|{sizes}",
        "splits": {split.name: split.num_examples for split in known},
        "classes": list(getattr(features.get("label"), "names", [])) or None,
        "channels": 1 if features["image"].shape[-1] == 1 else 3,
        "images": images,
    }
    with contextlib.suppress(OSError):  # without the file, only the next start is slower
        write_atomically(file, to_json(facts, indent=1))
    return facts
