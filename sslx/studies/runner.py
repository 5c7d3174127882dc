"""The runs of a study: trained by train.py and evaluated by eval.py, each in its own process.

What a run has come to is in outcome.json of its folder, which is written last; whatever happens
before, the run is tried again, and train.py goes on from its newest checkpoint.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

from sslx.files import to_json, write_atomically
from sslx.studies.claims import take
from sslx.training.interrupt import DIVERGED, INTERRUPTED


class Outcome(NamedTuple):
    """What a run has come to."""

    status: str = "missing"  # trained, and then done; or diverged, failed
    reason: str = ""
    # Wall time of the training's last start ("train"), and of each evaluation.
    seconds: Mapping[str, float] = {}
    memory_gib: float = 0.0  # the most that the training process has held
    evaluations: tuple[str, ...] = ()  # those that are there, as eval.py's words


class Work(NamedTuple):
    """A run with its folder, and the words after the interpreter that train and evaluate it."""

    name: str
    folder: Path
    train: tuple[str, ...]
    evaluations: tuple[tuple[str, ...], ...]  # of each call of eval.py, without --run


def read_outcome(folder: Path) -> Outcome:
    """Return the outcome of a run that has ended; before, it is missing."""
    try:
        fields = json.loads((folder / "outcome.json").read_text())
    except (OSError, ValueError):
        return Outcome()
    # Files of older versions call them judgements.
    evaluations = fields.pop("judgements", ()) or fields.pop("evaluations", ())
    return Outcome(**fields | {"evaluations": tuple(evaluations)})


def is_finished(work: Work) -> bool:
    """Return whether nothing is left to do: all is evaluated, or it diverged and would again."""
    outcome = read_outcome(work.folder)
    wanted = {" ".join(words) for words in work.evaluations}
    is_done = outcome.status == "done" and wanted <= set(outcome.evaluations)
    return is_done or outcome.status == "diverged"


def in_turn(works: list[Work], shard: int, shards: int) -> list[Work]:
    """Return every `shards`-th run from the `shard`-th on, and then those of the other shards."""
    starts = [(shard - 1 + offset) % shards for offset in range(shards)]
    return [work for start in starts for work in works[start::shards]]


def run_missing(
    works: list[Work], claims: Path, say: Callable[[str], None]
) -> Iterator[tuple[Work, Outcome]]:
    """Do what is left, unless another process does it; yield each run that ends and its outcome.

    A run that fails is tried once, and again by the next call.
    """
    tried: set[str] = set()
    busy = True
    # Another process may leave in the second round what it had in the first.
    while busy:
        busy = False
        for work in works:
            if work.name in tried or is_finished(work):
                continue
            claim = take(claims, work.name)
            if claim is None:
                continue
            busy = True
            tried.add(work.name)
            with claim:
                if is_finished(work):  # by the process that has just given it back
                    continue
                outcome = _do(work, claim, say)
                _write(work.folder, outcome)
            yield work, outcome


def _do(work: Work, claim: TextIO, say: Callable[[str], None]) -> Outcome:
    """Train and evaluate; raises KeyboardInterrupt when a child was interrupted."""
    work.folder.mkdir(parents=True, exist_ok=True)
    before = read_outcome(work.folder)
    seconds, done, memory = dict(before.seconds), set(before.evaluations), before.memory_gib
    if before.status not in ("trained", "done") and not done:
        say(f"training {work.name}; its output: {work.folder}/output.txt")
        code, last, seconds["train"], memory = _call(work.train, work.folder, claim)
        if code == DIVERGED:
            when, _, _ = last.partition(". ")  # the rest is advice
            return Outcome("diverged", when, seconds, memory)
        if code:
            return Outcome("failed", last, seconds, memory)
        _write(work.folder, Outcome("trained", "", seconds, memory))
    for words in work.evaluations:
        text = " ".join(words)
        if text in done:
            continue
        command = (*words, f"--run={work.folder}")
        code, last, seconds[text], _ = _call(command, work.folder, claim)
        if code:
            return Outcome("failed", last, seconds, memory, tuple(sorted(done)))
        done.add(text)
    return Outcome("done", "", seconds, memory, tuple(sorted(done)))


def _call(words: tuple[str, ...], folder: Path, claim: TextIO) -> tuple[int, str, float, float]:
    """Run Python, its output added to output.txt: exit code, last line, seconds, peak GiB."""
    started = time.perf_counter()
    with (folder / "output.txt").open("a") as output:
        start = output.tell()
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(
            [sys.executable, *words],
            # With this sslx/command.py ends the child when this process ends.
            env=os.environ | {"SSLX_PARENT": str(os.getpid())},
            pass_fds=(claim.fileno(),),  # the run is claimed while either process lives
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            peak = 0.0
            while (code := child.poll()) is None:
                peak = max(peak, _peak_memory(child.pid))
                time.sleep(0.1)
        except KeyboardInterrupt:
            child.terminate()  # train.py saves
            child.wait()
            raise
    if code in (INTERRUPTED, -2, -15):
        raise KeyboardInterrupt
    text = (folder / "output.txt").read_bytes()[start:].decode(errors="replace")
    return code, _last_line(code, text), time.perf_counter() - started, peak


def _last_line(code: int, output: str) -> str:
    """Why a child has ended: its last error, or what it printed last."""
    if code < 0:
        return f"killed by signal {-code}" + (", perhaps for want of memory" if code == -9 else "")
    lines = output.strip().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no output"])[-1]


def _peak_memory(pid: int) -> float:
    """The most memory that a process has held so far, in GiB; 0 where the system does not tell.

    What `os.wait4` reports would count this process too, from which the other was forked.
    """
    try:
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(peak[1]) / 2**20 if peak else 0.0


def _write(folder: Path, outcome: Outcome) -> None:
    write_atomically(folder / "outcome.json", to_json(outcome._asdict(), indent=1))
