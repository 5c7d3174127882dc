"""Memory and speed of DIET's head against the number of images N: naive, blockwise, class-parallel,
and s-DIET.

    python -m benchmarks.diet_head --torch=PYTHON --plot=docs/diet_head.png
    python -m benchmarks.diet_head --sizes 50000 100000 --variants naive blockwise --rounds=5

The methods of `sslx` run with an encoder that hands its input on, so a step is the head's: loss,
gradient, AdamW. Each variant is a process of its own, in which a small head has run before; those
that fit into half of the free memory together take turns, in a new random order in each round. Rows
of s-DIET were touched long ago, so that a step repeats 128 missed ones; those in a file come from
the disk, not from its cache. What does not fit is by the model, which leaves out the buffers that
do not grow with N:

| bytes | on a device | elsewhere |
|---|---|---|
| naive | 16 N D (weights, gradient, moments) + 12 B N (logits, softmax, its gradient) | |
| blockwise, class-parallel | 12 N D / devices | |
| s-DIET | 16 B D | 12 N D + 4 N; a step moves 24 B D |

and its time that of the largest N that was measured, in proportion to N, or unchanged for s-DIET.
The columns: `device` is what the compiler plans for one device (arguments, results, buffers),
`less` naive JAX's to it; `process` the growth of the peak resident memory, with all devices and the
compiler; `store` what s-DIET reserves in host memory or on disk; `moved` goes between host and
device in a step; `faster` is naive JAX's time to the variant's, the median over the rounds. Host
memory becomes resident where it is touched: here by a few dozen steps, in a run by an epoch. Linux
only."""

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
WARM, STEPS, ENOUGH = (
    2,
    8,
    0.5,
)  # steps before the first round; in a round at most, and the seconds that end it
TOTAL, STEP = 100_000, 10_000  # steps of the run that is imagined, and where in it s-DIET stands


@contextlib.contextmanager
def jax_head(
    job: dict[str, Any], size: int
) -> Iterator[tuple[Callable[[], float], dict[str, float]]]:
    """The step of a head of `size` rows, which returns the loss, and a dict that holds its bytes
    after the first.
    """
    import jax
    import numpy as np

    from sslx.data.order import order
    from sslx.method import open_store
    from sslx.training import parallel
    from sslx.training.state import init_state

    mesh = parallel.start(DEVICES.get(job["variant"], 1))
    with jax.set_mesh(mesh), tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        method, optimizer = build(job["variant"], size, job["dim"])
        state = parallel.place(
            init_state(method, optimizer, jax.random.key(0), (1, job["dim"])), mesh
        )
        store = open_store(method, Path(folder), 0, job["batch"], mesh)
        batches = [
            order(0, number, num_images=size, batch_size=job["batch"])
            for number in range(job["steps"])
        ]
        if not grows(job["variant"]):
            state = state._replace(
                step=state.step + STEP, extra=aged(state.extra, store, np.concatenate(batches))
            )
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
    """The method around an encoder that does nothing, and the optimizer of what it trains."""
    import optax

    from sslx.methods import diet, sdiet
    from sslx.methods.instance_head.rows import RowAdamW
    from sslx.models.network import Network

    rate = optax.cosine_decay_schedule(1e-3, TOTAL)
    nothing = Network(lambda key, shape: ({}, {}), lambda params, stats, x, train: (x, stats), dim)
    row_optimizer, optimizer = (
        RowAdamW(rate, TOTAL, weight_decay=0.05),
        optax.adamw(rate, weight_decay=0.05),
    )
    if not grows(variant):
        return sdiet.Method(nothing, {}, size, row_optimizer, projector=(), rows=variant), optimizer
    head = "full" if variant == "naive" else "blockwise"
    return diet.Method(nothing, {}, size, row_optimizer, head=head), optimizer


def aged(extra: Any, store: Any, index: Any) -> Any:
    """The extra state with s-DIET's rows touched once, long ago; outside the device rows `index`,
    and out of caches.
    """
    if not store:
        import jax

        touch = jax.jit(
            lambda head: head | {"rows": head["rows"] + 1e-3, "done": head["done"] + 2},
            donate_argnums=0,
        )
        return extra | {"head": touch(extra["head"])}
    arrays = store.arrays()
    arrays["rows"][index], arrays["done"][index] = 1e-3, 1
    if isinstance(arrays["rows"].base, mmap.mmap):
        arrays["rows"].flush()
        arrays["rows"].base.madvise(mmap.MADV_DONTNEED)  # pages in use would stay in the cache
        with open(arrays["rows"].filename, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return extra


def compiled(method: Any, optimizer: Any, facts: dict[str, float]) -> Callable[..., Any]:
    """The step `(state, features [B, D], indices [B]) -> (state, logs)`, compiled in its first
    call.
    """
    import jax
    import optax

    from sslx.method import Batch
    from sslx.training.state import State

    def step(state: State, features: Any, indices: Any) -> tuple[State, dict[str, Any]]:
        def loss(params: Any, features: Any) -> tuple[Any, Any]:
            return method.loss(
                params, state.extra, Batch((features,), indices), jax.random.key(0), state.step
            )

        taken = jax.value_and_grad(loss, (0, 1), has_aux=True)(state.params, features)
        (value, (extra, _)), (gradient, by_features) = taken
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        state = State(state.step + 1, optax.apply_updates(state.params, updates), extra, moments)
        return state, {"loss": value, "by_features": by_features}

    program: Any = None

    def run(state: State, features: Any, indices: Any) -> tuple[State, dict[str, Any]]:
        nonlocal program
        if program is None:
            program = jax.jit(step, donate_argnums=0).lower(state, features, indices).compile()
            plan, head = program.memory_analysis(), state.extra.get("head", {})
            facts["device"] = (
                plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
            )
            facts["device"] -= plan.alias_size_in_bytes
            moves = (
                "index" in head
            )  # the store has put it there, with the rows, and takes these back
            facts["moved"] = (
                sum(head[x].nbytes for x in ("index", "done", "rows", "rows")) if moves else 0
            )
        return program(state, features, indices)

    return run


@contextlib.contextmanager
def torch_head(
    job: dict[str, Any], size: int
) -> Iterator[tuple[Callable[[], float], dict[str, float]]]:
    """The same with PyTorch's own cross-entropy and AdamW; nobody plans its bytes."""
    import torch

    weights = torch.nn.Parameter(
        torch.empty(size, job["dim"]).uniform_(-1, 1).div_(job["dim"] ** 0.5)
    )
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
    """Bytes that the kernel counts: VmHWM is the most that this process has had resident since it
    forgot the peak.
    """
    return (
        next(
            int(line.split()[1])
            for line in Path(path).read_text().splitlines()
            if line.startswith(field)
        )
        * 1024
    )


def work() -> None:
    """Build the head that the first line asks for and answer with its bytes; to others with the
    seconds of a step.
    """
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
            start, done = time.perf_counter(), 0
            while done < STEPS and time.perf_counter() - start < ENOUGH:
                step()
                done += 1
            seconds = (time.perf_counter() - start) / done
            print(json.dumps({"seconds": seconds, "process": count("VmHWM") - before}), flush=True)


def start(python: str) -> subprocess.Popen[str]:
    """The process of a variant."""
    # Small pages: with large ones every row that s-DIET touches would take 2 MiB of this machine.
    environment = {"JAX_PLATFORMS": "cpu", **os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    command, pipe = [python, "-m", "benchmarks.diet_head", "--worker"], subprocess.PIPE
    return subprocess.Popen(
        command, text=True, cwd=Path(__file__).parents[1], env=environment, stdin=pipe, stdout=pipe
    )


def ask(process: Any, question: str = "") -> dict[str, Any]:
    """Its answer to one line; raises RuntimeError when it has ended instead."""
    print(question, file=process.stdin, flush=True)
    if line := process.stdout.readline():
        return json.loads(line)
    raise RuntimeError("its process has ended, for the reason above")


def take_turns(
    variants: list[str], size: int, args: argparse.Namespace, folder: str
) -> dict[str, Figures]:
    """The figures of variants that are there at the same time, without those that could not be
    built.
    """
    job = {"size": size, "dim": args.dim, "batch": args.batch, "folder": folder}
    job["steps"] = WARM + args.rounds * STEPS + 1  # the store reads one ahead
    there, facts = {}, {}
    rounds: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    with contextlib.ExitStack() as stack:
        for variant in variants:
            process = stack.enter_context(
                start(args.torch if variant == "torch" else sys.executable)
            )
            try:
                facts[variant] = ask(process, json.dumps(job | {"variant": variant}))
                there[variant] = process
                print(
                    f"{LABELS[variant]}, N = {size:,}: loss {facts[variant].pop('loss'):.5f}",
                    flush=True,
                )
            except RuntimeError as error:
                print(f"{LABELS[variant]}, N = {size:,}: by the model; {error}", flush=True)
        for _ in range(args.rounds):
            for variant in random.sample(list(there), len(there)):
                time.sleep(0.2)  # the threads of the one before may still spin
                rounds[variant].append(ask(there[variant]))
    figures = {}
    for variant, found in facts.items():
        peaks, seconds = (
            tuple(answer[x] for answer in rounds[variant]) for x in ("process", "seconds")
        )
        figures[variant] = Figures(
            process=max(found["building"], *peaks), seconds=seconds, measured=True, **found
        )
    return figures


def figures_at(
    size: int, args: argparse.Namespace, folder: str, report: Report
) -> dict[str, Figures]:
    """The figures of all variants at N = size: measured where memory and time allow it, else by the
    model.
    """
    figures = {variant: expected(variant, size, report) for variant in args.variants}
    fitting = {}
    for variant, found in figures.items():
        needed, seconds = (
            resident(variant, found),
            statistics.median(found.seconds or [0]) * (WARM + args.rounds),
        )
        if needed > args.memory or seconds > args.seconds:
            needs = (
                f"{needed / 1e9:.1f} of {args.memory / 1e9:.1f} GB and {seconds:.0f} of "
                f"{args.seconds:.0f} s"
            )
            print(f"{LABELS[variant]}, N = {size:,}: by the model, as it needs {needs}")
        else:
            fitting[variant] = found
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
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[50_000, 100_000, 300_000, IMAGENET, 10_000_000]
    )
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="an interpreter that has PyTorch"
    )
    parser.add_argument(
        "--memory", type=float, help="bytes that may be in use; half of what is free if not given"
    )
    parser.add_argument(
        "--seconds", type=float, default=300, help="for the steps of one variant at one N"
    )
    parser.add_argument("--folder", help="for s-DIET's files; a temporary one if not given")
    parser.add_argument(
        "--json", type=Path, help="write the figures there, for benchmarks.diet_head_plot"
    )
    parser.add_argument("--plot", type=Path, help="draw them there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        work() if args.worker else compare(args)
    except ValueError as error:  # as when a disk has no room for the rows
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
