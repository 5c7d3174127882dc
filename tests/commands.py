"""The commands as a user runs them: each in a process of its own, on a run that takes seconds.

Most are forked from a process that has imported what all commands import (`multiprocessing`'s
forkserver), which spares each of them three seconds; `fresh` ones are started by themselves.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

RECIPE = "--config=configs/digits.py:diet"
SHORT = (
    "--config.duration=20 steps",
    "--config.optimizer.warmup=2 steps",
    "--config.model.width=4",
    "--config.batch_size=64",
)
LIGHT = (
    "--config.monitor.images=100",
    "--config.monitor.lidar_images=100",
    "--config.monitor.lidar_views=2",
)
# What commands import; none of it may use a device, as a forked process must start JAX itself.
PRELOADED = [
    "sslx.command",
    "sslx.datasets",
    "sslx.data.load",
    "sslx.evaluation.monitor",
    "sslx.evaluation.run",
    "sslx.evaluation.selection",
    "sslx.experiment",
    "sslx.training.checkpoint",
    "sslx.training.input",
    "ml_collections.config_flags",
]
FORKED: Any = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(PRELOADED)


def environment(cache: Path) -> dict[str, str]:
    """Return variables with which a command leaves nothing outside of `cache`."""
    own = {
        "TFDS_DATA_DIR": f"{cache}/data",
        "SSLX_CACHE": f"{cache}/compiled",
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **own}


class Command:
    """A forked command; as much of `subprocess.Popen` as the tests use."""

    def __init__(self, words: list[str], variables: dict[str, str]) -> None:
        reader, writer = FORKED.Pipe(duplex=False)
        os.environ["JAX_PLATFORMS"] = "cpu"  # for the server, which imports jax
        self._process = FORKED.Process(target=_run, args=(words, variables, writer))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace")
        reader.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float = 300) -> tuple[str, None]:
        rest = self.stdout.read()
        self.stdout.close()
        self._process.join(timeout)
        return rest, None


def _run(words: list[str], variables: dict[str, str], writer: Any) -> None:
    os.dup2(writer.fileno(), 1)
    os.dup2(writer.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = variables.get("PYTHONPATH", "").split(os.pathsep)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def start(cache: Path, *words: object, file_blocks: int = 0, fresh: bool = False) -> Any:
    """Start a command, its output in one pipe; no file of its may grow beyond `file_blocks` kB."""
    texts = list(map(str, words))
    if not fresh and not file_blocks:
        return Command(texts, environment(cache))
    command = [sys.executable, *texts]
    if file_blocks:
        command = ["bash", "-c", f'ulimit -f {file_blocks}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(cache: Path, *words: object, expect: int = 0, **options: Any) -> str:
    """Return what a command prints; fails unless it ends with `expect`."""
    process = start(cache, *words, **options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, f"exit code {process.returncode}\n{output}"
    return output


def train(cache: Path, folder: Path, *words: object, **options: Any) -> str:
    """Run a short training in `folder`."""
    return run(cache, "train.py", RECIPE, f"--run={folder}", *SHORT, *LIGHT, *words, **options)
