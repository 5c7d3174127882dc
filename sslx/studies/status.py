"""How far each run of a study is: a table for people who wait."""

import json
from pathlib import Path

from sslx.evaluation.records import total_steps
from sslx.evaluation.run import read_lines
from sslx.studies.claims import is_over, newest_claim, read_claim
from sslx.studies.runner import Work, is_finished, read_outcome
from sslx.training.log import clock


def status(works: list[Work], claims: Path, seconds_left: float) -> str:
    """A line for each run: done, diverged, failed, training or judging (where), or waiting; and
    when all will be done.

    `seconds_left` is what the missing runs take one after another.
    """
    lines, at_work = [], 0
    for work in works:
        claim = newest_claim(claims, work.name)
        busy = claim is not None and not is_over(claim)
        at_work += busy
        lines.append(
            (_state(work, busy), work.name, f"on {_where(claim)}" if busy and claim else "")
        )
    width = max(len(state) for state, _, _ in lines)
    names = max(len(name) for _, name, _ in lines)
    table = [
        f"{state.ljust(width)}  {name.ljust(names)}  {where}".rstrip()
        for state, name, where in lines
    ]
    done = sum(map(is_finished, works))
    table.append(
        f"{done} of {len(works)} runs are finished, {at_work} at work; "
        f"{_eta(seconds_left, at_work)}"
    )
    return "\n".join(table)


def _state(work: Work, busy: bool) -> str:
    outcome = read_outcome(work.folder)
    if is_finished(work) and outcome:
        return outcome.status
    step, total = progress(work.folder)
    if busy:
        return "judging" if total and step == total else f"training {step}/{total or '?'}"
    if outcome and outcome.status in ("trained", "failed"):
        return outcome.status
    return f"stopped {step}/{total}" if step else "waiting"


def progress(folder: Path) -> tuple[int, int]:
    """The step that was logged last, and the steps of the whole run; zeros where it has not begun."""
    if not (folder / "config.json").exists() or not (folder / "data.json").exists():
        return 0, 0
    try:
        total = total_steps(folder)
    except (ValueError, KeyError):  # another process is writing
        return 0, 0
    return max(
        (line.get("step", 0) for line in read_lines(folder / "metrics.jsonl")), default=0
    ), total


def _where(claim: Path) -> str:
    said = read_claim(claim)
    pids = ", ".join(said.get("pids", {}))
    return (
        f"{said.get('host', 'a machine').partition(' ')[0]}, process {pids}"
        if said
        else json.dumps(claim.name)
    )


def _eta(seconds: float, at_work: int) -> str:
    if not seconds:
        return "nothing is left"
    return f"about {clock(seconds / max(at_work, 1))} to go" + (
        "" if at_work else " once it is started"
    )
