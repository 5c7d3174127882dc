"""One TFDS builder for every data set, which writes array_record without TensorFlow.

TFDS's own shuffling opens files with TensorFlow as soon as a split has more than 1 GB. So the
records are put into its order here, by the MD5 of split and key, and handed over shard by shard.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from sslx.data.progress import progress
from sslx.data.records import FORMAT
from sslx.datasets.dataset import Contents, DataSet, Example, contents, write_note

BATCH = 256  # records read at once, which is far quicker
SHARD_BYTES = 128 << 20
MAX_SHARDS = 200  # each an open file while the archives are read; some systems allow only 256
# Before a record on its way to its shard: MD5, label, bytes of the key and of the image.
HEADER = struct.Struct("=16siII")


def write_records(dataset: DataSet, root: Path, given: Contents) -> None:
    """Prepare the contents `given` of `dataset` in the data folder `root`.

    An example holds image, label and, where the keys are strings, file_name. ValueError for a split
    without images or with two images under one key.
    """
    splits = {split: begin() for split, begin in given.splits.items()}
    first = next(iter(splits))
    # TFDS asks for the features, which follow from an example, before it asks for examples.
    head = next(splits[first], None)
    if head is None:
        raise ValueError(f"{dataset.name} has no images in its split {first}.")
    splits[first] = itertools.chain([head], splits[first])
    key, image, _ = head
    encoding = "png" if isinstance(image, np.ndarray) else None
    features = {
        "image": tfds.features.Image(shape=dataset.shape, encoding_format=encoding),
        "label": tfds.features.ClassLabel(names=given.classes),
    }
    if isinstance(key, str):
        features["file_name"] = tfds.features.Text()

    class Records(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg, misc]
        name = dataset.name
        VERSION = tfds.core.Version(dataset.version)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description=dataset.title,
                homepage=dataset.home,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _shard_iterators_per_split(self, _: Any) -> dict[str, list[Callable[..., Any]]]:
            folder = Path(self.data_path)
            write_note(dataset, folder)
            # All splits are read before any is written: what is missing shows as early as it can.
            paths = {
                split: _scatter(dataset, split, examples, folder)
                for split, examples in splits.items()
            }
            read = functools.partial(_shard, name=dataset.name, fields=tuple(features))
            return {
                split: [functools.partial(read, path) for path in paths[split]] for split in paths
            }

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        Records(data_dir=root, file_format=FORMAT).download_and_prepare()


def stored(folder: Path) -> Contents:
    """Return what is prepared in the folder, in the order of its records, still encoded."""
    builder = tfds.builder_from_directory(folder)

    def examples(split: str) -> Iterator[Example]:
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        for begin in range(0, len(source), BATCH):
            numbers = range(begin, min(begin + BATCH, len(source)))
            for number, record in zip(numbers, source.__getitems__(numbers), strict=True):
                name = record.get("file_name", b"").decode()
                yield name or number, record["image"], int(record["label"])

    return contents(builder.info.features["label"].names, builder.info.splits, examples)


def _scatter(dataset: DataSet, split: str, examples: Iterator[Example], folder: Path) -> list[Path]:
    """Write one file for each shard, in which its records lie as they came."""
    size = dataset.disk * dataset.sizes.get(split, 0) // max(sum(dataset.sizes.values()), 1)
    shards = min(max(size // SHARD_BYTES, 1), MAX_SHARDS)
    paths = [folder / f"{split}-{shard:05}.unordered" for shard in range(shards)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for key, image, label in examples:
            digest = hashlib.md5(f"{split}{key}".encode(), usedforsecurity=False).digest()
            name = str(key).encode()
            content = _png(image) if isinstance(image, np.ndarray) else image
            file = files[int.from_bytes(digest[:8], "big") * shards >> 64]
            file.writelines((HEADER.pack(digest, label, len(name), len(content)), name, content))
    paths = [path for path in paths if path.stat().st_size]
    if not paths:
        raise ValueError(f"{dataset.name} has no images in its split {split}.")
    return paths


def _shard(path: Path, name: str, fields: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the examples of a shard in their order."""
    records = sorted(_records(path), key=lambda record: record[0])
    path.unlink()
    for (digest, _, key, _), (other, _, _, _) in itertools.pairwise(records):
        if digest == other:
            split = path.name.split("-")[0]
            raise ValueError(f"{name}: two images of {split} have the key {key!r}.")
    with progress(f"{name}: writing {path.stem}", len(records)) as bar:
        for _, label, key, image in records:
            bar.update()
            # `fields` ends in file_name, or lacks it.
            yield key, dict(zip(fields, (image, label, key), strict=False))


def _records(path: Path) -> Iterator[tuple[bytes, int, str, bytes]]:
    """Yield the MD5 of split and key, the label, the key and the image file of each record."""
    with path.open("rb") as file:
        while header := file.read(HEADER.size):
            digest, label, key_size, image_size = HEADER.unpack(header)
            yield digest, label, file.read(key_size).decode(), file.read(image_size)


def _png(image: np.ndarray) -> bytes:
    """Encode an array, which TFDS would do with TensorFlow; it takes a file's bytes as they are."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
