"""TFDS data sets by name: those of `official.py`, small ones prepared on first use, and whatever
else is prepared.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx.data.sources import Content, Split, Splits, cache_dir, data_dir
from sslx.datasets.dataset import DataSet

FORMAT = "array_record"  # of TFDS's, the one that is read without TensorFlow
SMALL = (
    100e6  # bytes of records; what has all its archives and is smaller needs no command of its own
)


def splits(config: Any) -> Splits:
    """The splits of `config.data.name`, a data set of `official.py` or of TFDS; ValueError if it is
    not prepared.
    """
    from sslx.datasets.official import DATA_SETS

    official = DATA_SETS.get(config.name)
    return _splits(
        config, _noted(config, lambda: _builder(config, official), config.name), official
    )


def prepared_splits(config: Any, folder: Path) -> Splits:
    """The splits of a folder that TFDS has prepared, as `config.data` asks for them."""
    import tensorflow_datasets as tfds

    return _splits(
        config,
        _noted(config, lambda: tfds.builder_from_directory(folder), str(folder.resolve())),
        None,
    )


def _splits(config: Any, facts: dict[str, Any], official: DataSet | None) -> Splits:
    known = facts["splits"]
    default = next((name for name in ("test", "validation") if name in known), "")
    train = config.train_split or (official.train if official else "train")
    test = config.test_split or (official.test if official else default)
    probe = config.probe_split or (official.probe if official and not config.train_split else train)
    for field, expression in (("train_split", train), ("probe_split", probe), ("test_split", test)):
        for part in filter(None, expression.split("+")):
            if part.split("[")[0] not in known:
                raise ValueError(
                    f"{config.name} has no split {part!r}. Set --config.data.{field} to one of: "
                    f"{', '.join(known)}."
                )
    return Splits(
        _split(config, facts, train),
        _split(config, facts, probe) if probe != train else None,
        _split(config, facts, test) if test else None,
    )


def _split(config: Any, facts: dict[str, Any], expression: str) -> Split:
    source: Any = None

    def examples(numbers: Sequence[int]) -> list[dict[str, Any]]:
        nonlocal source
        try:
            source = source if source is not None else _open(facts, expression)
            return source.__getitems__(list(numbers))
        except Exception as error:  # TFDS's own, the reader's, or the file system's
            raise ValueError(
                f"{facts['folder']} is damaged ({str(error).splitlines()[0]}). Delete it and "
                "prepare it again."
            ) from error

    def read(numbers: Sequence[int]) -> list[Content]:
        return [(example["image"], int(example.get("label", -1))) for example in examples(numbers)]

    def where(number: int) -> str:
        name = examples([number])[0].get("file_name", b"")
        return f"record {number} of {config.name}/{expression}" + (
            f" ({name.decode()})" if name else ""
        )

    identity = f"{facts['identity']}|{expression}"
    size = facts["splits"].get(expression) or len(_open(facts, expression))
    return Split(
        f"{config.name}/{expression}",
        identity,
        size,
        facts["classes"],
        facts["channels"],
        read,
        where,
    )


def _open(facts: dict[str, Any], expression: str) -> Any:
    """TFDS's random access to the records of a split, with images still encoded."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(facts["folder"])
    encoded = {name: tfds.decode.SkipDecoding() for name in facts["images"]}
    return builder.as_data_source(expression, decoders=encoded)


def _noted(config: Any, find: Any, name: str) -> dict[str, Any]:
    """Split sizes, class names and more; from a note on disk if there is one, as importing TFDS
    takes long.
    """
    note = cache_dir(config) / f"{name.replace('/', '_').replace(':', '_')}.json"
    if note.exists():
        facts = json.loads(note.read_text())
        if facts.get("stamp") == _stamp(Path(facts["folder"])):
            return facts
    facts = _facts(find())
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(facts, indent=1))
        temporary.replace(note)
    except OSError:
        pass  # only slower the next time
    return facts


def _stamp(folder: Path) -> int:
    info = folder / "dataset_info.json"
    return info.stat().st_mtime_ns if info.exists() else 0


def _facts(builder: Any) -> dict[str, Any]:
    import tensorflow_datasets as tfds

    features = dict(builder.info.features)
    images = [
        name for name, feature in features.items() if isinstance(feature, tfds.features.Image)
    ]
    if "image" not in images:
        raise ValueError(f"{builder.name} has no feature 'image': it has {', '.join(features)}.")
    folder, splits = Path(builder.data_dir), builder.info.splits.values()
    return {
        "identity": f"{builder.info.full_name}|{[(info.name, info.num_examples, info.num_bytes) for info in splits]}",
        "folder": str(folder),
        "stamp": _stamp(folder),
        "splits": {info.name: info.num_examples for info in splits},
        "classes": list(getattr(features.get("label"), "names", [])) or None,
        "channels": 1 if features["image"].shape[-1] == 1 else 3,
        "images": images,
    }


def _builder(config: Any, official: DataSet | None) -> Any:
    """A prepared TFDS builder; raises ValueError with the way out when there is none."""
    import tensorflow_datasets as tfds

    from sslx.datasets.archives import locate_all
    from sslx.datasets.prepare import prepare

    root = data_dir(config)
    if official is None:
        return _tfds_builder(config, root)
    ours = root / official.name / official.version
    # Else by TFDS's own builder of that name, which has other versions and perhaps configurations.
    for info in [
        ours / "dataset_info.json",
        *sorted(root.glob(f"{official.name}/**/dataset_info.json")),
    ]:
        if (
            info.exists()
            and (found := tfds.builder_from_directory(info.parent)).info.file_format.value == FORMAT
        ):
            return found
    if official.disk > SMALL or (official.archives and not locate_all(official, root)):
        raise ValueError(
            f"{official.name} is not prepared in {root}. Prepare it once: python -m "
            f"sslx.datasets.prepare {official.name}"
        )
    return tfds.builder_from_directory(prepare(official, root))


def _tfds_builder(config: Any, root: Path) -> Any:
    import tensorflow_datasets as tfds

    from sslx.datasets.official import nearest

    catalogue = tfds.list_builders(with_community_datasets=False)
    name = config.name.split("/")[0].split(":")[0]
    try:
        builder = tfds.builder(config.name, data_dir=root)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        close = nearest(name, catalogue)
        hint = f" Did you mean {close!r}?" if close and close != name else ""
        reason = "" if name not in catalogue else f" TFDS says: {str(error).splitlines()[0]}"
        raise ValueError(
            f"There is no data set {config.name!r} in TFDS or in {root}.{hint}{reason} "
            "See python -m sslx.datasets.prepare --list, or bring your own images: "
            "--config.data.name=folder:PATH"
        ) from error
    if not builder.info.splits or builder.info.file_format.value != FORMAT:
        raise ValueError(
            f"{config.name} is not prepared as array_record in {root}. "
            f"Prepare it once: python -m sslx.datasets.prepare {config.name}"
        )
    return builder
