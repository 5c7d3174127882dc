"""Images per second of every stage and every way from a file to a training batch, beside
torchvision's.

    python -m benchmarks.input --torch=PYTHON

where PYTHON is an interpreter with torch and torchvision; without one their rows are left out. For
each of two kinds of images (32-pixel PNGs, 224-pixel JPEGs), made on the spot:

- `bare decoding`: the files' bytes are in memory, Pillow decodes them, with one thread per core and
nothing else;
- `streamed`: `config.data.decoded_gib=0`, batches on the device, by threads or by processes
(`config.data.workers`);
- `mapped`: from the decoded file; `resident`: a gather inside the jitted step;
- `DataLoader`: torchvision's ImageFolder and transforms with as many workers as cores, uint8
batches; `+ SimCLR view`:
  with the usual transforms of one view, which in sslx are the row `SimCLR view`, on the device.

How to read it: all ways take turns within every round, in an order that is drawn anew, and a ratio
is the median over the rounds of its time / time of bare decoding. The ratios are the result; images
per second depend on the machine. The last lines compare a SimCLR view with a step of ResNet-18, and
say what share of a step waits for resident data."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CORES = len(os.sched_getaffinity(0))
KINDS = {32: ("png", 6400, 256), 224: ("jpg", 960, 32)}  # suffix, images, batch
READY = 6  # batches that may have been made in advance while another way had its turn
SMALLER = 160  # of 224: what the resizing row resizes to


def make_images(folder: Path, size: int) -> list[Path]:
    """Files of smooth noise, whose JPEGs are as large as photographs' (20 kB at 224 pixels)."""
    suffix, count, _ = KINDS[size]
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / "train" / str(number % 2) / f"{number:05}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.clip(
            128 + 50 * rng.normal(size=(size // 8 + 1, size // 8 + 1, 3)), 0, 255
        ).astype(np.uint8)
        smooth = np.asarray(
            Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC), np.int16
        )
        noisy = np.clip(smooth + rng.normal(scale=8, size=smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, **({"quality": 90} if suffix == "jpg" else {}))
        paths.append(path)
    return paths


def timed(run: Callable[[], object]) -> float:
    """The seconds that it takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ways(folder: Path, paths: list[Path], size: int) -> dict[str, Callable[[], float]]:
    """What is compared, each a function that handles as many images as there are and says how many
    seconds it took.
    """
    import jax

    from configs import base
    from sslx.data import sources
    from sslx.data.decode import decode
    from sslx.training import parallel
    from sslx.training.input import Input
    from sslx.views.augment import augment
    from sslx.views.crop import Crop

    mesh = parallel.start(1)
    batch = KINDS[size][2]
    contents = [path.read_bytes() for path in paths]
    crop = Crop(size, jitter=0.8, gray=0.2, blur=0.5)
    gather = jax.jit(lambda images, index: images[index])

    def bare(threads: int, resize: int = 0) -> Callable[[], float]:
        pool = ThreadPoolExecutor(threads)
        return lambda: timed(
            lambda: list(pool.map(lambda content: decode(content, resize, 3), contents))
        )

    def batches(
        resident: float, decoded: float, workers: int = 0, image_size: int = 0
    ) -> Callable[[], float]:
        config = base.get_config().data
        config.update(
            name=f"folder:{folder}",
            cache=str(folder / "cache"),
            decoded_gib=decoded,
            image_size=image_size,
        )
        source = Input(
            sources.load(config).train.images,
            0,
            batch,
            mesh,
            resident_bytes=resident * 2**30,
            workers=workers,
        )
        steps = iter(range(10**9))

        def run(count: int) -> None:
            for _ in range(count):
                images, index, _ = source.batch(next(steps))
                (gather(images, index) if source.resident else images).block_until_ready()

        def fresh() -> float:
            run(READY)
            return timed(lambda: run(len(paths) // batch))

        return fresh

    resident = batches(1, 1)
    views = jax.numpy.asarray(np.stack([decode(content, 0, 3) for content in contents[:batch]]))

    def augmented() -> None:
        for number in range(len(paths) // batch):
            augment(jax.random.key(number), views, crop).block_until_ready()

    compared = {
        "bare decoding": bare(CORES),
        "bare decoding, one thread": bare(1),
        "streamed by threads": batches(0, 0),
        "streamed by processes": batches(0, 0, CORES),
        "mapped": batches(0, 1),
        "resident": resident,
        "SimCLR view": lambda: timed(augmented),
    }
    if size > SMALLER:
        compared[f"bare decoding, resizing to {SMALLER}"] = bare(CORES, SMALLER)
        compared[f"streamed by threads, resizing to {SMALLER}"] = batches(0, 0, image_size=SMALLER)
    return compared


def torch_ways(folder: Path, size: int) -> dict[str, Callable[[], float]]:
    """The same with torchvision, in its own interpreter."""
    import torch
    from torchvision import datasets, transforms

    simclr = [
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
        transforms.RandomApply([transforms.GaussianBlur(size // 20 * 2 + 1, (0.1, 2.0))], p=0.5),
    ]
    torch.set_num_threads(1)

    def loader(steps: list[Any]) -> Callable[[], float]:
        data = datasets.ImageFolder(
            folder / "train", transforms.Compose([*steps, transforms.PILToTensor()])
        )
        options = {
            "batch_size": KINDS[size][2],
            "num_workers": CORES,
            "persistent_workers": True,
            "shuffle": True,
        }
        batches = torch.utils.data.DataLoader(data, **options)
        return lambda: timed(lambda: [images.shape for images, _ in batches])

    return {"DataLoader": loader([]), "DataLoader + SimCLR view": loader(simclr)}


def in_torch(python: str, folder: Path, size: int) -> dict[str, Callable[[], float]]:
    """`torch_ways` in a process of that interpreter, or nothing where it has no torchvision."""
    if subprocess.run([python, "-c", "import torchvision"], stderr=subprocess.DEVNULL).returncode:
        print(
            "DataLoader: not installed; --torch=PYTHON names an interpreter that has torch and "
            "torchvision"
        )
        return {}
    command = [python, "-m", "benchmarks.input", "--worker", str(folder), str(size)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(name: str) -> float:
        print(name, file=process.stdin, flush=True)
        if line := process.stdout.readline():
            return float(line)
        raise RuntimeError("torch's process has ended, for the reason above")

    return {name: lambda name=name: ask(name) for name in json.loads(process.stdout.readline())}


def work(folder: Path, size: int) -> None:
    """Run the way that each line of the input names."""
    found = torch_ways(folder, size)
    print(json.dumps(list(found)), flush=True)
    for line in sys.stdin:
        print(found[line.strip()](), flush=True)


def compare(found: dict[str, Callable[[], float]], size: int, rounds: int) -> None:
    """Print the table of one kind of images."""
    count = KINDS[size][1]
    for run in found.values():
        run()  # compiles, starts workers, fills the system's file cache
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name in random.sample(list(found), len(found)):
            times[name].append(found[name]())
    print(
        f"\n{size}-pixel {KINDS[size][0]}, batches of {KINDS[size][2]}, {CORES} cores, {rounds} "
        "rounds"
    )
    for name, seconds in times.items():
        ratios = sorted(
            time / bare for time, bare in zip(seconds, times["bare decoding"], strict=True)
        )
        rate, middle = count / statistics.median(seconds), statistics.median(ratios)
        print(
            f"{name:42}{rate:12,.0f} images/s   {middle:7.3f} of bare decoding ({ratios[0]:.3f} to "
            f"{ratios[-1]:.3f})"
        )


def compare_with_step(rounds: int) -> None:
    """A SimCLR view at 32 pixels against a step of ResNet-18, per image, and what resident data
    costs the step.
    """
    import jax

    from configs.cifar10 import simclr
    from sslx.experiment import load_method
    from sslx.training import parallel
    from sslx.training.input import Input
    from sslx.training.optim import make_optimizer
    from sslx.training.schedules import Durations, learning_rate
    from sslx.training.state import init_state, make_step
    from sslx.views.augment import augment

    config = simclr.get_config()
    config.batch_size, images = (
        64,
        np.random.default_rng(0).integers(0, 256, (5000, 32, 32, 3), np.uint8),
    )
    mesh = parallel.start(1)
    with jax.set_mesh(mesh):
        durations = Durations(config.duration, len(images) // config.batch_size, config.batch_size)
        method, optimizer = (
            load_method(config, len(images)),
            make_optimizer(config.optimizer, durations),
        )
        state = parallel.place(
            init_state(method, optimizer, jax.random.key(0), (1, 32, 32, 3)), mesh
        )
        batches = Input(images, 0, config.batch_size, mesh, resident_bytes=2**30)
        step = make_step(
            method, optimizer, learning_rate(config.optimizer, durations), 0, resident=True
        )
        crop, some = method.views.crops[0], jax.numpy.asarray(images[: config.batch_size])
        ratios, waits = [], []
        for number in range(rounds + 1):
            started = time.perf_counter()
            for _ in range(20):
                augment(jax.random.key(number), some, crop).block_until_ready()
            view = (time.perf_counter() - started) / 20
            started, waited = time.perf_counter(), 0.0
            for k in range(2):
                *given, seconds = batches.batch(2 * number + k)
                waited += seconds
                state, logs = step(state, *given)
                jax.block_until_ready(logs)
            seconds = (time.perf_counter() - started) / 2
            ratios, waits = [*ratios, view / (seconds / 2)], [*waits, waited / 2 / seconds]
    print(f"\nSimCLR at 32 pixels with ResNet-18, batches of {config.batch_size}, {rounds} rounds")
    print(
        f"a view / a step's share of it: {statistics.median(ratios[1:]):.4f} (up to "
        f"{max(ratios[1:]):.4f})"
    )
    print(
        f"waiting for resident data / step: {statistics.median(waits[1:]):.5f} (up to "
        f"{max(waits[1:]):.5f})"
    )


def kinds(given: list[int]) -> Iterator[tuple[int, Path]]:
    """Each size with a folder of its images."""
    for size in given:
        with tempfile.TemporaryDirectory() as folder:
            yield size, Path(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="an interpreter with torchvision"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(Path(args.worker[0]), int(args.worker[1]))
    for size, folder in kinds(args.sizes):
        paths = make_images(folder, size)
        compare(ways(folder, paths, size) | in_torch(args.torch, folder, size), size, args.rounds)
    return compare_with_step(args.rounds)


if __name__ == "__main__":
    main()
