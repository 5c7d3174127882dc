"""How long from `python train.py` to the end of its first step, with a warm compilation cache?

    python -m benchmarks.startup [RECIPE]

Alternates, in processes of their own, the bare import of jax, flax, optax and orbax with the start
of a training run, and prints the median seconds and the median of the paired ratios. The step's own
time is printed too: the target is a start within twice the import plus one step. One untimed start
fills the caches.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
IMPORT = "import jax, flax.linen, optax, orbax.checkpoint"


def seconds_to_import() -> float:
    """Seconds of a process that imports the four libraries and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return time.perf_counter() - started


def seconds_to_step(recipe: str) -> tuple[float, float]:
    """Seconds from the start of train.py to the end of step 1, and of the fastest of 8 more."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "train.py", f"--config={recipe}", f"--run={folder}/run"]
        command += ["--config.log.every=1 steps"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        ends: list[float] = []
        started = time.perf_counter()
        with subprocess.Popen(command, text=True, **pipes) as process:
            for line in process.stdout or ():
                if line.startswith("step "):
                    ends.append(time.perf_counter() - started)
                if len(ends) == 9:
                    process.kill()
                    break
    return ends[0], min(after - before for before, after in itertools.pairwise(ends))


def main() -> None:
    """Measure and print."""
    recipe = sys.argv[1] if len(sys.argv) > 1 else "configs/digits.py:diet"
    seconds_to_step(recipe)
    rounds = [(seconds_to_import(), *seconds_to_step(recipe)) for _ in range(ROUNDS)]
    bare, first, step = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median((start - one) / imported for imported, start, one in rounds)
    print(f"{IMPORT}: {bare:.2f} s")
    print(
        f"train.py to the end of step 1: {first:.2f} s, of it {step:.3f} s for one step; "
        f"{ratio:.2f} x the import"
    )


if __name__ == "__main__":
    main()
