"""The commands as a user runs them: each in a process of its own, on a run that takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

RECIPE = "--config=configs/digits/diet.py"
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


def environment(cache: Path) -> dict[str, str]:
    """Data and compiled programs in `cache`, so that a test neither reads nor leaves anything of
    the user's.
    """
    own = {
        "TFDS_DATA_DIR": f"{cache}/data",
        "SSLX_CACHE": f"{cache}/compiled",
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **own}


def start(cache: Path, *words: object, file_blocks: int = 0) -> subprocess.Popen[str]:
    """A command running in the background, its output in one pipe; no file of its may grow beyond
    `file_blocks` kB.
    """
    command = [sys.executable, *map(str, words)]
    if file_blocks:
        command = ["bash", "-c", f'ulimit -f {file_blocks}; exec "$@"', "bash", *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment(cache), stdout=pipe, stderr=subprocess.STDOUT, text=True
    )


def run(cache: Path, *words: object, expect: int = 0, file_blocks: int = 0) -> str:
    """What a command prints; fails unless it ends with `expect`."""
    process = start(cache, *words, file_blocks=file_blocks)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == expect, f"exit code {process.returncode}\n{output}"
    return output


def train(cache: Path, folder: Path, *words: object, expect: int = 0, file_blocks: int = 0) -> str:
    """A short training run in `folder`."""
    return run(
        cache,
        "train.py",
        RECIPE,
        f"--run={folder}",
        *SHORT,
        *LIGHT,
        *words,
        expect=expect,
        file_blocks=file_blocks,
    )
