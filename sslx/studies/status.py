"""How far each run of a study is: a table for people who wait."""

from pathlib import Path

from sslx.evaluation.results import total_steps
from sslx.files import read_lines
from sslx.studies.claims import holder
from sslx.studies.runner import Work, is_finished, read_outcome
from sslx.training.log import clock


def status(works: list[Work], claims: Path, seconds_left: float) -> str:
    """Return a line for each run with its state and where it is, and when all will be done.

    `seconds_left` is what the missing runs take one after another.
    """
    rows = []
    at_work = 0
    for work in works:
        place = holder(claims, work.name)
        at_work += bool(place)
        rows.append((_state(work, bool(place)), work.name, place))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        f"{state:{widths[0]}}  {name:{widths[1]}}  {place}".rstrip() for state, name, place in rows
    ]
    if not seconds_left:
        end = "nothing is left"
    elif at_work:
        end = f"about {clock(seconds_left / at_work)} to go"
    else:
        end = f"about {clock(seconds_left)} to go once it is started"
    done = sum(map(is_finished, works))
    lines.append(f"{done} of {len(works)} runs are finished, {at_work} at work; {end}")
    return "\n".join(lines)


def progress(folder: Path) -> tuple[int, int]:
    """Return the step that was logged last, and the run's steps; zeros where it has not begun."""
    try:
        total = total_steps(folder)
    except (OSError, ValueError, KeyError):  # not begun, or another process is writing
        return 0, 0
    steps = [line.get("step", 0) for line in read_lines(folder / "metrics.jsonl")]
    return max(steps, default=0), total


def _state(work: Work, busy: bool) -> str:
    outcome = read_outcome(work.folder)
    if outcome and is_finished(work):
        return outcome.status
    step, total = progress(work.folder)
    if busy:
        return "evaluating" if total and step == total else f"training {step}/{total or '?'}"
    if outcome and outcome.status in ("trained", "failed"):
        return outcome.status
    return f"stopped {step}/{total}" if step else "waiting"
