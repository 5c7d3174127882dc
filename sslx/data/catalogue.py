"""TFDS data sets by name: those of `builders.py`, prepared on first use, and whatever else TFDS finds prepared."""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sslx.data.sources import Split, data_dir

BUILT_IN = ("digits", "mnist5k", "fashion_mnist")


def splits(config: Any) -> tuple[Split, Split | None]:
    """The training and test split of the TFDS data set `config.data.name`; TFDS's slicing, train[:90%], works."""
    prepared = _prepared(config)
    known = prepared["splits"]
    test = config.test_split or next((name for name in ("test", "validation") if name in known), "")
    for field, split in (("train_split", config.train_split), ("test_split", test)):
        if split and split.split("[")[0].split("+")[0] not in known:
            raise ValueError(
                f"{config.name} has no split {split!r}. Set --config.data.{field} to one of: {', '.join(known)}."
            )
    return _split(config, prepared, config.train_split), _split(config, prepared, test) if test else None


def _split(config: Any, prepared: dict[str, Any], split: str) -> Split:
    identity = f"{config.name}|{prepared['version']}|{split}"
    builder = None

    def source() -> Any:
        nonlocal builder
        builder = builder or _builder(config)
        return builder.as_data_source(split)

    def decode() -> Iterator[tuple[np.ndarray | str, int]]:
        from sslx.data.folder import square

        for example in source():
            yield square(np.asarray(example["image"]), config.image_size), int(example.get("label", -1))

    return Split(
        f"{config.name}/{split}", identity, prepared["splits"].get(split) or len(source()), prepared["classes"], decode
    )


def _prepared(config: Any) -> dict[str, Any]:
    """Version, split sizes and class names; from a note on disk if there is one, as importing TFDS takes long."""
    note = data_dir(config) / "sslx_decoded" / f"{config.name.replace('/', '_').replace(':', '_')}.json"
    if note.exists() and (facts := json.loads(note.read_text())) and Path(facts["folder"]).exists():
        return facts
    builder = _builder(config)
    label = dict(builder.info.features).get("label")
    facts = {
        "version": str(builder.version),
        "folder": str(builder.data_dir),
        "splits": {name: info.num_examples for name, info in builder.info.splits.items()},
        "classes": list(label.names) if label is not None and hasattr(label, "names") else None,
    }
    note.parent.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(facts, indent=1))
    temporary.replace(note)
    return facts


def _builder(config: Any) -> Any:
    """A prepared TFDS builder; raises ValueError with the way out when there is none."""
    import tensorflow_datasets as tfds

    from sslx.data import builders

    root = data_dir(config)
    own = {"digits": builders.Digits, "mnist5k": builders.Mnist5k, "fashion_mnist": builders.FashionMnist}
    if config.name in own:
        builder = own[config.name](data_dir=root, file_format="array_record")
        if builder.info.splits:
            return builder
        # The versions here begin with 1, that of TFDS's own fashion_mnist with 3.
        for facts in sorted(root.glob(f"{config.name}/[2-9]*/dataset_info.json")):
            prepared = tfds.builder_from_directory(facts.parent)
            if prepared.info.file_format.value == "array_record":
                return prepared
        print(f"preparing {config.name} in {root}, once")
        tfds.disable_progress_bar()
        builder.download_and_prepare()
        return builder
    catalogue = tfds.list_builders(with_community_datasets=False)
    name = config.name.split("/")[0].split(":")[0]
    try:
        builder = tfds.builder(config.name, data_dir=root)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        close = difflib.get_close_matches(name, [*BUILT_IN, *catalogue], n=1)
        hint = f" Did you mean {close[0]!r}?" if close and close[0] != name else ""
        reason = "" if name not in catalogue else f" TFDS says: {str(error).splitlines()[0]}"
        raise ValueError(
            f"There is no data set {config.name!r} in TFDS or in {root}.{hint}{reason} "
            f"Without a download: {', '.join(BUILT_IN)}, or your own images: --config.data.name=folder:PATH"
        ) from error
    if not builder.info.splits or builder.info.file_format.value != "array_record":
        raise ValueError(
            f"{config.name} is not prepared as array_record in {root}. Prepare it once: pip install tensorflow-cpu, "
            f"then python -c \"import tensorflow_datasets as tfds; tfds.builder('{config.name}', data_dir='{root}', "
            "file_format='array_record').download_and_prepare()\""
        )
    return builder
