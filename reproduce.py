"""Run a study: train and evaluate its grid of runs, then make the paper's tables and figures.

  python reproduce.py --study=configs/studies/diet_small.py --dry       # the runs and their cost
  python reproduce.py --study=configs/studies/diet_small.py
  python reproduce.py --study=configs/studies/diet_small.py --shard=1/2   # beside one with 2/2
  python reproduce.py --study=configs/studies/diet_small.py --status
  python reproduce.py --study=configs/studies/lidar_vicreg.py:paper --dry

Run the same command again to go on where it stopped, by Ctrl-C or by anything else: a finished run
is never repeated. Studies are programs, as configs are: run only those that you trust.
"""

import functools
import signal
import sys
import time
from pathlib import Path

from absl import flags

from sslx import command
from sslx.studies.estimate import costs_of, dry, remaining, status
from sslx.studies.evidence import gather
from sslx.studies.plan import load_plan, works_of
from sslx.studies.results import write_results
from sslx.studies.runner import Work, in_turn, is_finished, run_missing
from sslx.studies.study import Plan
from sslx.training.log import clock

STUDY = flags.DEFINE_string(
    "study", None, "The study's file, and after a colon its scale: desk (default) or paper."
)
SHARD = flags.DEFINE_string(
    "shard", "1/1", "i/n: begin with every n-th run from the i-th on, then help the others."
)
RUNS = flags.DEFINE_string("runs", "runs", "Where run folders are, below a folder for each study.")
RESULTS = flags.DEFINE_string("results", None, "Where results go. [default: results/ in the runs]")
DRY = flags.DEFINE_bool("dry", False, "Only print the runs and an estimate of what they cost.")
STATUS = flags.DEFINE_bool("status", False, "Only print how far each run is, until all are done.")
TABLES = flags.DEFINE_bool("tables", False, "Only make tables and figures, of what there is.")
NOTE = flags.DEFINE_string("note", "", "A line for the results' README.md, such as the machine.")
REFRESH = 5.0  # seconds between two tables of --status
say = functools.partial(print, flush=True)  # at once, also into a file


def main() -> int:
    """Do what the flags name: by default everything that is missing."""
    if STUDY.value is None:
        raise ValueError("--study is missing: for example --study=configs/studies/diet_small.py")
    plan = load_plan(STUDY.value, Path(RUNS.value))
    works = in_turn(works_of(plan), *read_shard(SHARD.value))
    if DRY.value:
        print(dry(works, plan.configs))
    elif STATUS.value:
        watch(plan, works)
    elif TABLES.value:
        make_results(plan)
    else:
        return run_all(plan, works)
    return 0


def run_all(plan: Plan, works: list[Work]) -> int:
    """Train and evaluate what is missing, then make the tables; return 1 when a run has failed."""
    # Also where a shell has put this process in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = sum(not is_finished(work) for work in works)
    failed = False
    costs = costs_of(plan.configs) if missing else {}
    print(f"{plan.name}: {len(works)} runs in {plan.folder}, {missing} of them missing")
    for work, outcome in run_missing(works, plan.folder / "claims", say):
        failed |= outcome.status == "failed"
        reason = f": {outcome.reason}" if outcome.reason else ""
        spent, left = clock(sum(outcome.seconds.values())), clock(remaining(works, costs))
        say(f"{work.name}: {outcome.status} after {spent}{reason}; {left} of single runs left")
    busy = sum(not is_finished(work) for work in works)
    if busy and not failed:
        print(f"{busy} runs are at work elsewhere; who ends last makes the whole table")
    make_results(plan)
    return 1 if failed else 0


def make_results(plan: Plan) -> None:
    """Write and print the study's tables, of what there is."""
    folder = Path(RESULTS.value) if RESULTS.value else plan.folder / "results"
    paths = write_results(plan, gather(plan), folder, NOTE.value)
    print(f"\n{(folder / 'README.md').read_text()}\nwritten: {folder}/ ({len(paths)} files)")


def watch(plan: Plan, works: list[Work]) -> None:
    """Print how far each run is; on a terminal again and again until all are done."""
    costs = costs_of(plan.configs)
    while True:
        clear = "\x1b[2J\x1b[H" if sys.stdout.isatty() else ""
        say(clear + status(works, plan.folder / "claims", remaining(works, costs)))
        if not sys.stdout.isatty() or all(map(is_finished, works)):
            return
        time.sleep(REFRESH)


def read_shard(text: str) -> tuple[int, int]:
    """Return i and n of a text such as 1/2; raises ValueError for anything else."""
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise ValueError(
            f"--shard is {text!r}; it takes i/n with i from 1 to n, such as 1/2 and 2/2."
        )
    return int(i), int(n)


if __name__ == "__main__":
    command.run(main)
