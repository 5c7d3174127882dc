"""A folder of images as a data set: `folder:PATH`.

PATH may hold class sub-folders, or just images (then there are no labels), or folders `train` and `test`
(or `val`, `validation`) of either kind.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sslx.data.sources import Split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
HELD_OUT = 5  # without a test folder, every fifth image of a class


def splits(config: Any) -> tuple[Split, Split | None]:
    """The training and test split of `config.data.name`, which is folder:PATH."""
    root = Path(config.name.removeprefix("folder:")).expanduser()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root}. Give a folder of images: --config.data.name=folder:PATH")
    train_root = root / config.train_split
    if train_root.is_dir():
        names = [config.test_split] if config.test_split else ["test", "val", "validation"]
        test_root = next((root / name for name in names if (root / name).is_dir()), None)
        train = _labelled(train_root)
        test = _labelled(test_root) if test_root else None
        if test and {label for _, label in test} - {label for _, label in train}:
            raise ValueError(f"{test_root} has class folders that {train_root} lacks: the classes must be the same.")
    else:
        train, test = _hold_out(_labelled(root))
        if test:
            print(f"note: {root} has no test folder; {len(test)} of its images are held out for kNN and probes")
    classes = sorted({label for _, label in train})
    if classes == [""]:
        print(f"note: {root} has no class folders, so no labels: kNN and probes are off, label-free metrics stay on")
        return _split(f"{config.name}/train", train, None, config), None
    return (
        _split(f"{config.name}/train", train, classes, config),
        _split(f"{config.name}/test", test, classes, config) if test else None,
    )


def _labelled(root: Path) -> list[tuple[Path, str]]:
    """Image files below `root`, sorted, each with the name of its class folder ("" directly in root)."""
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise ValueError(f"There are no images in {root}. Files that end in {', '.join(SUFFIXES)} are read.")
    found = [(path, path.relative_to(root).parts[0] if path.parent != root else "") for path in files]
    if len({label for _, label in found}) > 1 and (loose := [path for path, label in found if not label]):
        raise ValueError(
            f"{root} has class folders and also loose images, such as {loose[0].name}. Move them into a class folder."
        )
    return found


def _hold_out(files: list[tuple[Path, str]]) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Every fifth file of each class as test images, chosen by a hash of its name so that new files change little."""
    if files[0][1] == "":
        return files, []
    train, test = [], []
    for label in sorted({label for _, label in files}):
        members = sorted(
            (file for file in files if file[1] == label),
            key=lambda file: hashlib.sha256(file[0].name.encode()).digest(),
        )
        count = len(members) // HELD_OUT
        test += members[:count]
        train += members[count:]
    return sorted(train), sorted(test)


def _split(name: str, files: list[tuple[Path, str]], classes: list[str] | None, config: Any) -> Split:
    stats = [(str(path.resolve()), status.st_size, status.st_mtime_ns) for path, _ in files for status in [path.stat()]]
    identity = hashlib.sha256(repr(stats).encode()).hexdigest()
    numbers = {label: number for number, label in enumerate(classes or [""])}

    def decode() -> Iterator[tuple[np.ndarray | str, int]]:
        with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes outside the interpreter's lock
            for start in range(0, len(files), 1024):
                chunk = files[start : start + 1024]
                images = pool.map(lambda file: read_image(file[0], config.image_size, config.channels), chunk)
                yield from zip(images, (numbers[label] for _, label in chunk), strict=True)

    return Split(name, identity, len(files), classes, decode)


def read_image(path: Path, size: int, channels: int) -> np.ndarray | str:
    """The image as uint8 [H, W, C]; with `size`, its short side is resized to it and the centre square cut out.

    Returns the reason as text when the file cannot be read.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise a dozen types, SyntaxError and struct.error among them
        return f"{path} cannot be read as an image ({error})"
    return square(np.asarray(image), size)


def square(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, C], with `size` cut to [size, size, C]: short side resized, centre kept."""
    if size and image.shape[:2] != (size, size):
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # Cut before resizing: Pillow's filter would read across the border of a box.
        centre = image[top : top + side, left : left + side]
        picture = Image.fromarray(centre.squeeze(-1) if centre.shape[2:] == (1,) else centre)
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        image = np.asarray(picture)
    return image if image.ndim == 3 else image[..., None]
