"""What is missing is run once, whatever is killed: with small programs instead of train.py."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sslx.studies.claims import holder, take
from sslx.studies.runner import Outcome, Work, in_turn, is_finished, read_outcome, run_missing

# Counts to five in a file, and goes on where it was; ends with its parent, as the commands do.
TRAIN = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
with (folder / "starts").open("a") as file:
    file.write("x")
steps = folder / "steps"
for step in range(len(steps.read_text()) if steps.exists() else 0, 5):
    time.sleep(0.05)
    if os.getppid() != int(os.environ["SSLX_PARENT"]):
        sys.exit(130)
    steps.write_text("." * (step + 1))
"""
SHARD = """
import sys
from pathlib import Path
from tests.studies.test_runner import works
from sslx.studies.runner import in_turn, run_missing
root, shard = Path(sys.argv[1]), int(sys.argv[2])
for work, outcome in run_missing(in_turn(works(root), shard, 2), root / "claims", print):
    print(work.name, outcome.status, flush=True)
"""


def program(folder: Path, text: str, *words: object) -> tuple[str, ...]:
    return ("-c", text, str(folder), *map(str, words))


def work(root: Path, name: str, train: str = TRAIN, *evaluations: str) -> Work:
    folder = root / name
    return Work(name, folder, program(folder, train), tuple(("-c", text) for text in evaluations))


def works(root: Path) -> list[Work]:
    return [work(root, f"run-{number}", TRAIN, "pass") for number in range(6)]


def do(root: Path, *found: Work) -> dict[str, Outcome]:
    return {
        work.name: outcome
        for work, outcome in run_missing(list(found), root / "claims", lambda text: None)
    }


def test_a_run_is_trained_and_evaluated_and_never_again(tmp_path):
    one = work(tmp_path, "a", TRAIN, "import sys; print(sys.argv[1])")
    outcome = do(tmp_path, one)["a"]
    assert outcome.status == "done"
    assert outcome.seconds["train"] > 0.25
    assert 0 < outcome.memory_gib < 1
    assert read_outcome(one.folder) == outcome
    assert is_finished(one)
    assert do(tmp_path, one) == {}
    assert (one.folder / "output.txt").read_text() == f"--run={one.folder}\n"
    # Another evaluation of the same run, by another study, does not train it again.
    both = one._replace(evaluations=(*one.evaluations, ("-c", "print('more')")))
    assert not is_finished(both)
    assert len(do(tmp_path, both)["a"].evaluations) == 2
    assert (one.folder / "starts").read_text() == "x"


def test_a_run_that_diverges_says_why_and_is_not_tried_again(tmp_path):
    text = (
        "import sys; print('error: loss became non-finite in step 3. Lower the rate.'); sys.exit(3)"
    )
    one = work(tmp_path, "a", text)
    outcome = do(tmp_path, one, work(tmp_path, "b"))["a"]
    assert (outcome.status, outcome.reason) == ("diverged", "loss became non-finite in step 3")
    assert read_outcome(tmp_path / "b").status == "done"
    assert do(tmp_path, one) == {}


def test_a_run_that_fails_says_why_and_is_tried_once_in_each_call(tmp_path):
    text = (
        "import sys, pathlib; pathlib.Path(sys.argv[1], 'tries').open('a').write('x'); "
        "sys.exit('error: no disk')"
    )
    one = work(tmp_path, "a", text)
    for number in (1, 2):
        assert do(tmp_path, one)["a"][:2] == ("failed", "no disk")
        assert len((one.folder / "tries").read_text()) == number
    killed = work(tmp_path, "b", "import os; os.kill(os.getpid(), 9)")
    assert do(tmp_path, killed)["b"].reason == "killed by signal 9, perhaps for want of memory"
    badly = work(tmp_path, "c", TRAIN, "raise SystemExit('error: no such metric')")
    assert do(tmp_path, badly)["c"][:2] == ("failed", "no such metric")


def test_an_interrupted_run_gives_its_claim_back(tmp_path):
    one = work(tmp_path, "a", "raise SystemExit(130)")
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, one)
    assert read_outcome(one.folder) == Outcome()
    assert do(tmp_path, work(tmp_path, "a"))["a"].status == "done"


def shard(root: Path, number: int) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", SHARD, str(root), str(number)], stdout=pipe, text=True
    )


def test_two_shards_at_once_do_each_run_once(tmp_path):
    both = [shard(tmp_path, 1), shard(tmp_path, 2)]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in both]
    ended = [line.split()[0] for lines in outputs for line in lines if line.endswith(" done")]
    assert sorted(ended) == [f"run-{number}" for number in range(6)]
    assert all(outputs)
    assert all((tmp_path / name / "starts").read_text() == "x" for name in ended)


def test_killed_at_random_it_goes_on_and_nothing_is_done_twice(tmp_path):
    dice = random.Random(0)
    for _ in range(6):
        process = shard(tmp_path, 1)
        process.stdout.readline()  # it has begun
        time.sleep(dice.uniform(0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = shard(tmp_path, 1)
    process.communicate(timeout=120)
    finished = works(tmp_path)
    assert all(is_finished(one) for one in finished)
    assert {(one.folder / "steps").read_text() for one in finished} == {"....."}
    before = [(one.folder / "starts").read_text() for one in finished]
    assert shard(tmp_path, 1).communicate(timeout=120)[0] == ""
    assert [(one.folder / "starts").read_text() for one in finished] == before


def test_a_run_that_is_killed_while_it_is_evaluated_is_not_trained_again(tmp_path):
    one = work(tmp_path, "a", TRAIN, "raise SystemExit(130)")
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, one)
    assert read_outcome(one.folder).status == "trained"
    assert not is_finished(one)
    assert do(tmp_path, one._replace(evaluations=(("-c", "pass"),)))["a"].status == "done"
    assert (one.folder / "starts").read_text() == "x"


def test_shards_begin_apart_and_then_help_each_other():
    found = list(range(7))
    assert in_turn(found, 1, 1) == found
    assert in_turn(found, 2, 3) == [1, 4, 2, 5, 0, 3, 6]


def test_the_status_tells_what_each_run_is_doing(tmp_path):
    from sslx.studies.estimate import status  # imports jax, which the shards need not

    done, failed, waiting = (work(tmp_path, name) for name in ("done", "failed", "waiting"))
    do(tmp_path, done, failed._replace(train=("-c", "raise SystemExit('error: x')")))
    lines = status([done, failed, waiting], tmp_path / "claims", 90.0).splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["done", "done"],
        ["failed", "failed"],
        ["waiting", "waiting"],
    ]
    assert lines[3] == "1 of 3 runs are finished, 0 at work; about 1:30 to go once it is started"
    claim = take(tmp_path / "claims", "waiting")
    line = status([waiting], tmp_path / "claims", 90.0).splitlines()[0]
    assert line == f"training 0/?  waiting  {holder(tmp_path / 'claims', 'waiting')}"
    claim.close()


def test_an_outcome_of_an_older_version_is_understood(tmp_path):
    one = work(tmp_path, "a", TRAIN, "pass")
    do(tmp_path, one)
    path = one.folder / "outcome.json"
    fields = json.loads(path.read_text())
    fields["judgements"] = fields.pop("evaluations")
    path.write_text(json.dumps(fields))
    assert is_finished(one)
    both = one._replace(evaluations=(*one.evaluations, ("-c", "print('more')")))
    assert len(do(tmp_path, both)["a"].evaluations) == 2
    assert (one.folder / "starts").read_text() == "x"


def test_an_outcome_that_was_cut_short_counts_as_none(tmp_path):
    (tmp_path / "outcome.json").write_text('{"status": "do')
    assert read_outcome(tmp_path) == Outcome()
    assert os.listdir(tmp_path) == ["outcome.json"]
