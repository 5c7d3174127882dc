"""Images per second of every way from a file to a training batch, beside torchvision's.

    python -m benchmarks.input --torch=PYTHON

PYTHON is an interpreter with torch and torchvision; without one their rows are left out. For each
of two kinds of images (32-pixel PNGs, 224-pixel JPEGs), made on the spot:

- `bare decoding`: the files' bytes are in memory, Pillow decodes them, with one thread per core and
  nothing else;
- `streamed`: `config.data.decoded_gib=0`, batches on the device, by threads or by processes
  (`config.data.workers`);
- `mapped`: from the decoded file;
- `resident`: a gather inside the jitted step;
- `DataLoader`: torchvision's ImageFolder and transforms with as many workers as cores, uint8
  batches;
- `DataLoader + SimCLR view`: with the usual transforms of one view, which in sslx are the row
  `SimCLR view`, on the device.

How to read it: all ways take turns within every round, in an order that is drawn anew, and a ratio
is the median over the rounds of its time / time of bare decoding. The ratios are the result; images
per second depend on the machine. The last lines compare a SimCLR view with a step of ResNet-18, and
print what share of a step waits for resident data.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
        few = size // 8 + 1
        coarse = Image.fromarray(pixels(128 + 50 * rng.normal(size=(few, few, 3))))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        noisy = Image.fromarray(pixels(smooth + rng.normal(scale=8, size=smooth.shape)))
        noisy.save(path, quality=90)  # PNG has no quality and ignores it
        paths.append(path)
    return paths


def pixels(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


def timed(run: Callable[[], object]) -> float:
    """The seconds that it takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ways(folder: Path, paths: list[Path], size: int) -> dict[str, Callable[[], float]]:
    """The ways of sslx, each a function that handles every image once and returns the seconds."""
    import jax

    from configs import base
    from sslx.data.decode import decode
    from sslx.data.load import load
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

        def run() -> list[np.ndarray]:
            return list(pool.map(lambda content: decode(content, resize, 3), contents))

        return lambda: timed(run)

    def batches(
        resident: float, decoded: float, workers: int = 0, image_size: int = 0
    ) -> Callable[[], float]:
        config = base.get_config().data
        config.update(name=f"folder:{folder}", cache=str(folder / "cache"))
        config.update(decoded_gib=decoded, image_size=image_size)
        images = load(config).train.images
        resident_bytes = resident * 2**30
        source = Input(images, 0, batch, mesh, resident_bytes=resident_bytes, workers=workers)
        steps = itertools.count()

        def run(count: int) -> None:
            for _ in range(count):
                images, index, _ = source.batch(next(steps))
                (gather(images, index) if source.resident else images).block_until_ready()

        def fresh() -> float:
            run(READY)
            return timed(lambda: run(len(paths) // batch))

        return fresh

    resident = batches(1, 1)  # first, so that the images are decoded and kept once, for all ways
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
        transform = transforms.Compose([*steps, transforms.PILToTensor()])
        data = datasets.ImageFolder(folder / "train", transform)
        workers = {"num_workers": CORES, "persistent_workers": True}
        batches = torch.utils.data.DataLoader(data, KINDS[size][2], shuffle=True, **workers)
        return lambda: timed(lambda: [images.shape for images, _ in batches])

    return {"DataLoader": loader([]), "DataLoader + SimCLR view": loader(simclr)}


def in_torch(python: str, folder: Path, size: int) -> dict[str, Callable[[], float]]:
    """`torch_ways` in a process of that interpreter, or nothing where it has no torchvision."""
    if subprocess.run([python, "-c", "import torchvision"], stderr=subprocess.DEVNULL).returncode:
        print("DataLoader: not installed; --torch=PYTHON names an interpreter with torchvision")
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
    runs = torch_ways(folder, size)
    print(json.dumps(list(runs)), flush=True)
    for line in sys.stdin:
        print(runs[line.strip()](), flush=True)


def compare(runs: dict[str, Callable[[], float]], size: int, rounds: int) -> None:
    """Print the table of one kind of images."""
    suffix, count, batch = KINDS[size]
    for run in runs.values():
        run()  # compiles, starts workers, fills the system's file cache
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in random.sample(list(runs), len(runs)):
            times[name].append(runs[name]())
    print(f"\n{size}-pixel {suffix}, batches of {batch}, {CORES} cores, {rounds} rounds")
    bare = times["bare decoding"]
    for name, seconds in times.items():
        ratios = sorted(a / b for a, b in zip(seconds, bare, strict=True))
        rate = count / statistics.median(seconds)
        print(
            f"{name:42}{rate:12,.0f} images/s   {statistics.median(ratios):7.3f} of bare decoding "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


def compare_with_step(rounds: int) -> None:
    """A SimCLR view at 32 pixels and the wait for resident data, as shares of a ResNet-18 step."""
    import jax

    from configs import cifar10
    from sslx.experiment import make_experiment, make_training
    from sslx.training import parallel
    from sslx.training.input import Input
    from sslx.views.augment import augment

    config = cifar10.get_config("simclr")
    config.batch_size = 64
    images = np.random.default_rng(0).integers(0, 256, (5000, 32, 32, 3), np.uint8)
    mesh = parallel.start(1)
    with jax.set_mesh(mesh):
        experiment = make_experiment(config, len(images), channels=3)
        training = make_training(experiment, resident=True)
        state = parallel.place(training.init(), mesh)
        batches = Input(images, config.seed, config.batch_size, mesh, resident_bytes=2**30)
        crop = experiment.method.views.crops[0]
        some = jax.numpy.asarray(images[: config.batch_size])
        ratios: list[float] = []
        waits: list[float] = []
        for number in range(rounds + 1):
            started = time.perf_counter()
            for _ in range(20):
                augment(jax.random.key(number), some, crop).block_until_ready()
            view = (time.perf_counter() - started) / 20
            waited = 0.0
            started = time.perf_counter()
            for k in range(2):
                on_device, index, seconds = batches.batch(2 * number + k)
                waited += seconds
                state, logs = training.step(state, on_device, index)
                jax.block_until_ready(logs)
            step = (time.perf_counter() - started) / 2
            if number:  # the first round compiles
                ratios.append(view / (step / 2))  # of a step's two views
                waits.append(waited / 2 / step)
    ratio, wait = statistics.median(ratios), statistics.median(waits)
    print(f"\nSimCLR at 32 pixels with ResNet-18, batches of {config.batch_size}, {rounds} rounds")
    print(f"a view / a step's share of it: {ratio:.4f} (up to {max(ratios):.4f})")
    print(f"waiting for resident data / step: {wait:.5f} (up to {max(waits):.5f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    torch_help = "an interpreter with torchvision"
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help=torch_help)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(Path(args.worker[0]), int(args.worker[1]))
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = make_images(folder, size)
            runs = ways(folder, paths, size) | in_torch(args.torch, folder, size)
            compare(runs, size, args.rounds)
    return compare_with_step(args.rounds)


if __name__ == "__main__":
    main()
