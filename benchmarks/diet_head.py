"""Memory and speed of DIET's head by the number of images N: naive, blockwise, parallel, s-DIET.

    python -m benchmarks.diet_head --torch=PYTHON --plot=docs/diet_head.png
    python -m benchmarks.diet_head --sizes 50000 100000 --variants naive blockwise --rounds=5

The methods of `sslx` run with an encoder that hands its input on, so a step is the head's: loss,
gradient, AdamW. Each variant is a process of its own, in which a small head has run before; those
that fit into half of the free memory together take turns, in a new random order in each round. Rows
of s-DIET were touched long ago, so that a step repeats 128 missed ones; those in a file come from
the disk, not from its cache.

What does not fit is by the model, which leaves out the buffers that do not grow with N:

| bytes | on a device | elsewhere |
|---|---|---|
| naive | 16 N D (weights, gradient, moments) + 12 B N (logits, softmax, its gradient) | |
| blockwise, class-parallel | 12 N D / devices | |
| s-DIET | 16 B D | 12 N D + 4 N; a step moves 24 B D |

Its time is that of the largest N that was measured, in proportion to N, or unchanged for s-DIET.

The columns:

- `device`: what the compiler plans for one device (arguments, results, buffers); `less`: naive
  JAX's / the variant's;
- `process`: the growth of the peak resident memory, with all devices and the compiler;
- `store`: what s-DIET reserves in host memory or on disk;
- `moved`: what goes between host and device in a step;
- `faster`: naive JAX's time / the variant's, the median over the rounds.

Host memory becomes resident where it is touched: here by a few dozen steps, in a run by an epoch.
Linux only.
"""

import argparse
import contextlib
import ctypes
import json
import mmap
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import diet_head_plot as shown
from benchmarks.diet_head_plot import (
    DEVICES,
    IMAGENET,
    LABELS,
    Figures,
    Report,
    expected,
    groups,
    grows,
    resident,
)

SMALL = 12_288  # rows of the head that runs first, so that libraries and compiler have their memory
WARM = 2  # steps before the first round
STEPS, ENOUGH = 8, 0.5  # the most steps of a round, and the seconds that end it
TOTAL, STEP = 100_000, 10_000  # steps of the run that is imagined, and where in it s-DIET stands


@contextlib.contextmanager
def jax_head(
    job: dict[str, Any], size: int
) -> Iterator[tuple[Callable[[], float], dict[str, float]]]:
    """The step of a head of `size` rows, which returns the loss; and its bytes, once it has run."""
    import jax
    import numpy as np

    from sslx.data.order import order
    from sslx.method import open_store
    from sslx.training import parallel
    from sslx.training.state import init_state

    mesh = parallel.start(DEVICES.get(job["variant"], 1))
    with jax.set_mesh(mesh), tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        method, optimizer = build(job["variant"], size, job["dim"])
        state = init_state(method, optimizer, jax.random.key(0), (1, job["dim"]))
        state = parallel.place(state, mesh)
        store = open_store(method, Path(folder), 0, job["batch"], mesh)
        counts = {"num_images": size, "batch_size": job["batch"]}
        batches = [order(0, number, **counts) for number in range(job["steps"])]
        if not grows(job["variant"]):
            extra = aged(state.extra, store, np.concatenate(batches))
            state = state._replace(step=state.step + STEP, extra=extra)
        features = np.random.default_rng(0).standard_normal((job["batch"], job["dim"]), np.float32)
        features, *indices = jax.block_until_ready(parallel.replicate([features, *batches], mesh))
        facts: dict[str, float] = {}
        run = compiled(method, optimizer, facts)
        run = store.around(run) if store else run

        def step() -> float:
            nonlocal state
            state, loss = run(state, features, indices.pop(0))
            return float(loss["loss"])

        facts["store"] = sum(array.nbytes for array in store.arrays().values()) if store else 0
        yield step, facts
        if store:
            store.close()


def build(variant: str, size: int, dim: int) -> tuple[Any, Any]:
    """The method around an encoder that does nothing, and the optimizer of what it trains.

    `sslx.experiment` builds neither: no config describes an encoder without parameters.
    """
    import optax

    from sslx.methods import diet, sdiet
    from sslx.methods.instance_head.rows import RowAdamW
    from sslx.models.network import Network

    rate = optax.cosine_decay_schedule(1e-3, TOTAL)
    nothing = Network(lambda key, shape: ({}, {}), lambda params, stats, x, train: (x, stats), dim)
    row_optimizer = RowAdamW(rate, TOTAL, weight_decay=0.05)
    optimizer = optax.adamw(rate, weight_decay=0.05)
    if not grows(variant):
        return sdiet.Method(nothing, {}, size, row_optimizer, projector=(), rows=variant), optimizer
    head = "full" if variant == "naive" else "blockwise"
    return diet.Method(nothing, {}, size, row_optimizer, head=head), optimizer


def aged(extra: Any, store: Any, index: Any) -> Any:
    """The extra state with s-DIET's rows touched once, long ago: all, or `index` of the store."""
    if not store:
        import jax

        def touched(head: dict[str, Any]) -> dict[str, Any]:
            return head | {"rows": head["rows"] + 1e-3, "done": head["done"] + 2}

        return extra | {"head": jax.jit(touched, donate_argnums=0)(extra["head"])}
    arrays = store.arrays()
    arrays["rows"][index] = 1e-3
    arrays["done"][index] = 1
    if isinstance(arrays["rows"].base, mmap.mmap):
        arrays["rows"].flush()
        arrays["rows"].base.madvise(mmap.MADV_DONTNEED)  # pages in use would stay in the cache
        with open(arrays["rows"].filename, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return extra


def compiled(method: Any, optimizer: Any, facts: dict[str, float]) -> Callable[..., Any]:
    """The step `(state, features [B, D], indices [B]) -> (state, logs)`, compiled when called."""
    import jax
    import optax

    from sslx.method import Batch
    from sslx.training.state import State

    def step(state: State, features: Any, indices: Any) -> tuple[State, dict[str, Any]]:
        def loss(params: Any, features: Any) -> tuple[Any, Any]:
            batch = Batch((features,), indices)
            return method.loss(params, state.extra, batch, jax.random.key(0), state.step)

        value_and_gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (value, (extra, _)), gradients = value_and_gradients(state.params, features)
        gradient, by_features = gradients
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        state = State(state.step + 1, optax.apply_updates(state.params, updates), extra, moments)
        return state, {"loss": value, "by_features": by_features}

    program: Any = None

    def run(state: State, features: Any, indices: Any) -> tuple[State, dict[str, Any]]:
        nonlocal program
        if program is None:
            program = jax.jit(step, donate_argnums=0).lower(state, features, indices).compile()
            plan = program.memory_analysis()
            results = plan.output_size_in_bytes - plan.alias_size_in_bytes
            facts["device"] = plan.argument_size_in_bytes + results + plan.temp_size_in_bytes
            facts["moved"] = 0
            head = state.extra.get("head", {})
            if "index" in head:  # the store has put it there, with the rows, and takes these back
                moved = ("index", "done", "rows", "rows")
                facts["moved"] = sum(head[name].nbytes for name in moved)
        return program(state, features, indices)

    return run


@contextlib.contextmanager
def torch_head(
    job: dict[str, Any], size: int
) -> Iterator[tuple[Callable[[], float], dict[str, float]]]:
    """The same with PyTorch's own cross-entropy and AdamW; nobody plans its bytes."""
    import torch

    drawn = torch.empty(size, job["dim"]).uniform_(-1, 1).div_(job["dim"] ** 0.5)
    weights = torch.nn.Parameter(drawn)
    optimizer = torch.optim.AdamW([weights], lr=1e-3, weight_decay=0.05)
    features = torch.randn(job["batch"], job["dim"], requires_grad=True)

    def step() -> float:
        index = torch.randint(size, (job["batch"],))
        loss = torch.nn.functional.cross_entropy(features @ weights.T, index, label_smoothing=0.8)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        features.grad = None
        return loss.item()

    yield step, {}


def count(field: str, path: str = "/proc/self/status") -> int:
    """Bytes that the kernel counts; VmHWM is this process's resident peak since the last reset."""
    lines = Path(path).read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith(field))
    return 1024 * kilobytes


def work() -> None:
    """Build the head that the first line describes, print its bytes, then time a round per line."""
    job = json.loads(sys.stdin.readline())
    head = torch_head if job["variant"] == "torch" else jax_head
    with head(job | {"steps": 1}, SMALL) as (step, _):
        step()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed, but kept, would hide as much of the growth
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = count("VmHWM")
    with head(job, job["size"]) as (step, facts):
        building = count("VmHWM") - before
        losses = [step() for _ in range(WARM)]
        print(json.dumps({"loss": losses[-1], "building": building} | facts), flush=True)
        for _ in sys.stdin:
            done = 0
            start = time.perf_counter()
            while done < STEPS and time.perf_counter() - start < ENOUGH:
                step()
                done += 1
            seconds = (time.perf_counter() - start) / done
            print(json.dumps({"seconds": seconds, "process": count("VmHWM") - before}), flush=True)


def start(python: str) -> subprocess.Popen[str]:
    """The process of a variant."""
    # Small pages: with large ones every row that s-DIET touches would take 2 MiB of this machine.
    environment = {"JAX_PLATFORMS": "cpu", **os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    command = [python, "-m", "benchmarks.diet_head", "--worker"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    root = Path(__file__).parents[1]
    return subprocess.Popen(command, text=True, cwd=root, env=environment, **pipes)


def ask(process: Any, question: str = "") -> dict[str, Any]:
    """Its answer to one line; raises RuntimeError when it has ended instead."""
    print(question, file=process.stdin, flush=True)
    if line := process.stdout.readline():
        return json.loads(line)
    raise RuntimeError("its process has ended, for the reason above")


def take_turns(
    variants: list[str], size: int, args: argparse.Namespace, folder: str
) -> dict[str, Figures]:
    """The figures of variants that run side by side, without those that could not be built."""
    job = {"size": size, "dim": args.dim, "batch": args.batch, "folder": folder}
    job["steps"] = WARM + args.rounds * STEPS + 1  # the store reads one ahead
    processes, facts = {}, {}
    rounds: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    with contextlib.ExitStack() as stack:
        for variant in variants:
            title = f"{LABELS[variant]}, N = {size:,}"
            python = args.torch if variant == "torch" else sys.executable
            process = stack.enter_context(start(python))
            try:
                facts[variant] = ask(process, json.dumps(job | {"variant": variant}))
                processes[variant] = process
                print(f"{title}: loss {facts[variant].pop('loss'):.5f}", flush=True)
            except RuntimeError as error:
                print(f"{title}: by the model; {error}", flush=True)
        for _ in range(args.rounds):
            for variant in random.sample(list(processes), len(processes)):
                time.sleep(0.2)  # the threads of the one before may still spin
                rounds[variant].append(ask(processes[variant]))
    figures = {}
    for variant, fields in facts.items():
        peak = max(fields["building"], *(answer["process"] for answer in rounds[variant]))
        seconds = tuple(answer["seconds"] for answer in rounds[variant])
        figures[variant] = Figures(process=peak, seconds=seconds, measured=True, **fields)
    return figures


def figures_at(
    size: int, args: argparse.Namespace, folder: str, report: Report
) -> dict[str, Figures]:
    """The figures at N = `size`: measured where memory and time allow it, else by the model."""
    figures = {variant: expected(variant, size, report) for variant in args.variants}
    fitting = {}
    for variant, needs in figures.items():
        memory = resident(variant, needs)
        seconds = statistics.median(needs.seconds or [0]) * (WARM + args.rounds)
        if memory <= args.memory and seconds <= args.seconds:
            fitting[variant] = needs
            continue
        print(
            f"{LABELS[variant]}, N = {size:,}: by the model, as it needs {memory / 1e9:.1f} of "
            f"{args.memory / 1e9:.1f} GB and {seconds:.0f} of {args.seconds:.0f} s"
        )
    for group in groups(fitting, args.memory):
        figures |= take_turns(group, size, args, folder)
    return figures


def compare(args: argparse.Namespace) -> None:
    """Measure what the options ask for, and print it."""
    args.memory = args.memory or count("MemAvailable", "/proc/meminfo") / 2
    look = [args.torch, "-c", "import torch"]
    if "torch" in args.variants and subprocess.run(look, stderr=subprocess.DEVNULL).returncode:
        args.variants = [variant for variant in args.variants if variant != "torch"]
        print("naive PyTorch: not installed; --torch=PYTHON names an interpreter that has it")
    report = Report(args.dim, args.batch, {})
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for size in sorted(args.sizes):
            report.figures[size] = figures_at(size, args, folder, report)
    print(f"\n{shown.table(report)}\n\n{shown.checks(report)}")
    if args.json:
        shown.save(report, args.json)
    if args.plot:
        shown.draw(report, args.plot)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [50_000, 100_000, 300_000, IMAGENET, 10_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=LABELS, default=list(LABELS))
    torch_help = "an interpreter that has PyTorch"
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help=torch_help)
    memory_help = "bytes that may be in use; half of what is free if not given"
    parser.add_argument("--memory", type=float, help=memory_help)
    seconds_help = "for the steps of one variant at one N"
    parser.add_argument("--seconds", type=float, default=300, help=seconds_help)
    parser.add_argument("--folder", help="for s-DIET's files; a temporary one if not given")
    json_help = "write the figures there, for benchmarks.diet_head_plot"
    parser.add_argument("--json", type=Path, help=json_help)
    parser.add_argument("--plot", type=Path, help="draw them there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        work() if args.worker else compare(args)
    except ValueError as error:  # as when a disk has no room for the rows
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
