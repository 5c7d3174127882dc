"""The runs of a study, one after the other: trained by train.py, judged by eval.py, each in a
process of its own.

What a run has come to stands in outcome.json of its folder, which is written last; whatever happens
before, the run is tried again, and train.py goes on from its newest checkpoint."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sslx.studies.claims import Claim, take
from sslx.training.interrupt import DIVERGED, INTERRUPTED


class Outcome(NamedTuple):
    """What a run has come to."""

    status: str  # trained, and then done; or diverged, failed
    reason: str = ""
    seconds: Mapping[
        str, float
    ] = {}  # wall time of the training's last start, and of each judgement
    memory_gib: float = 0.0  # the most that the training process has held
    judgements: tuple[str, ...] = ()  # those that are there, as eval.py's words


class Work(NamedTuple):
    """A run with its folder, and how it is to be judged: the words of each call of eval.py, but for
    the run.
    """

    name: str
    folder: Path
    train: tuple[str, ...]  # words after the interpreter
    judgements: tuple[tuple[str, ...], ...]


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome of a run that has ended."""
    try:
        said = json.loads((folder / "outcome.json").read_text())
    except (OSError, ValueError):
        return None
    return Outcome(**said | {"judgements": tuple(said["judgements"])})


def is_finished(work: Work) -> bool:
    """Whether nothing is left to do: trained and judged, or diverged, which it would do again."""
    outcome = read_outcome(work.folder)
    if outcome is None or outcome.status not in ("done", "diverged"):
        return False
    return outcome.status == "diverged" or {" ".join(words) for words in work.judgements} <= set(
        outcome.judgements
    )


def in_turn(works: list[Work], shard: int, shards: int) -> list[Work]:
    """Every `shards`-th run from the `shard`-th on, and then those of the others, in case they are
    left.
    """
    return [
        work for offset in range(shards) for work in works[(shard - 1 + offset) % shards :: shards]
    ]


def run_missing(
    works: list[Work], claims: Path, say: Callable[[str], None]
) -> Iterator[tuple[Work, Outcome]]:
    """Do what is left, in order, unless another process does it; yield each run that has ended,
    with its outcome.

    A run that fails is tried once, and again by the next call. KeyboardInterrupt gives its claim
    back."""
    tried: set[str] = set()
    busy = True
    while (
        busy
    ):  # what another process had in the first round may have been left by it in the second
        busy = False
        for work in works:
            if (
                work.name in tried
                or is_finished(work)
                or (claim := take(claims, work.name)) is None
            ):
                continue
            busy = True
            tried.add(work.name)
            if is_finished(work):  # by the one who has just released it
                claim.release()
                continue
            yield work, _claimed(work, claim, say)


def _claimed(work: Work, claim: Claim, say: Callable[[str], None]) -> Outcome:
    try:
        outcome = do(work, claim, say)
        if claim.lost():
            return Outcome(
                "failed", "another process has taken the run over, as this one gave no sign of life"
            )
        _write(work.folder, outcome)
        return outcome
    finally:
        claim.release()


def do(work: Work, claim: Claim, say: Callable[[str], None]) -> Outcome:
    """Train and judge; raises KeyboardInterrupt when a child was interrupted."""
    work.folder.mkdir(parents=True, exist_ok=True)
    before = read_outcome(work.folder) or Outcome("")
    seconds, done = dict(before.seconds), set(before.judgements)
    memory = before.memory_gib
    if before.status not in ("trained", "done") and not done:
        say(f"training {work.name}; what it says: {work.folder}/output.txt")
        code, last, seconds["train"], memory = call(work.train, work.folder, claim)
        if code:
            diverged = code == DIVERGED  # of which the first sentence says when; the rest is advice
            reason = last.partition(". ")[0] if diverged else last
            return Outcome("diverged" if diverged else "failed", reason, seconds, memory)
        _write(work.folder, Outcome("trained", "", seconds, memory))
    for words in work.judgements:
        if (text := " ".join(words)) not in done:
            code, last, seconds[text], _ = call(
                (*words, f"--run={work.folder}"), work.folder, claim
            )
            if code:
                return Outcome("failed", last, seconds, memory, tuple(sorted(done)))
            done.add(text)
    return Outcome("done", "", seconds, memory, tuple(sorted(done)))


def call(words: tuple[str, ...], folder: Path, claim: Claim) -> tuple[int, str, float, float]:
    """Run Python with `words`, its output added to output.txt; exit code, last line, seconds, and
    peak memory in GiB.

    Raises KeyboardInterrupt when it was interrupted, or when the claim is lost.
    """
    started = time.perf_counter()
    with (folder / "output.txt").open("a") as output:
        start = output.tell()
        follow = {
            "SSLX_PARENT": str(os.getpid())
        }  # sslx/command.py: the child ends when this process does
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(
            [sys.executable, *words],
            env=os.environ | follow,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        claim.includes(child.pid)
        try:
            code, peak = _wait(child, claim)
        except KeyboardInterrupt:
            child.terminate()  # train.py saves
            child.wait()
            raise
    text = (
        (folder / "output.txt").read_bytes()[start:].decode(errors="replace").strip().splitlines()
    )
    if code in (INTERRUPTED, -2, -15):
        raise KeyboardInterrupt
    said = [line.removeprefix("error: ") for line in text if line.startswith("error: ")] or text[
        -1:
    ]
    if code < 0:
        said = [
            f"killed by signal {-code}" + (", perhaps for want of memory" if code == -9 else "")
        ]
    return code, (said or ["no output"])[-1], time.perf_counter() - started, peak


def _wait(child: subprocess.Popen[bytes], claim: Claim) -> tuple[int, float]:
    """The exit code, and the most GiB that the child has held; another process that has taken the
    run over ends it.
    """
    peak = 0.0
    while (code := child.poll()) is None:
        peak = max(peak, _held(child.pid))
        if claim.lost():
            child.kill()
        time.sleep(0.1)
    return code, peak


def _held(pid: int) -> float:
    """The most memory that a process has held so far, in GiB; 0 where the system does not say.

    What `os.wait4` reports would count this process too, from which the other was forked.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 2**20 if found else 0.0


def _write(folder: Path, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "outcome.json.tmp"
    temporary.write_text(json.dumps(outcome._asdict(), indent=1))
    temporary.replace(folder / "outcome.json")
