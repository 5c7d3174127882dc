"""A run belongs to one process at a time, and to another one when that is dead."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sslx.studies.claims import holder, take

NAME = "mnist5k-simclr-learning_rate=0.1-seed=0"
HOLD = """
import subprocess, sys, time
from pathlib import Path
from sslx.studies.claims import take
claim = take(Path(sys.argv[1]), sys.argv[2])
child = subprocess.Popen(["sleep", sys.argv[3]], pass_fds=[claim.fileno()])
print(child.pid, flush=True)
time.sleep(60)
"""


def hold(folder, seconds: float) -> subprocess.Popen[str]:
    """Start a process that has the claim, as its child does for some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, NAME, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip().isdigit()
    return process


def test_a_claim_is_taken_once_until_it_is_released(tmp_path):
    assert holder(tmp_path, NAME) == ""
    claim = take(tmp_path, NAME)
    assert take(tmp_path, NAME) is None
    assert holder(tmp_path, NAME).startswith("on ")
    take(tmp_path, NAME.replace("0.1", "0.2")).release()
    claim.release()
    assert holder(tmp_path, NAME) == ""
    take(tmp_path, NAME).release()


def test_of_16_that_try_at_once_one_gets_it(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        tries = list(pool.map(lambda _: take(tmp_path, NAME), range(16)))
    claims = [claim for claim in tries if claim]
    assert len(claims) == 1
    claims[0].release()


def test_a_killed_process_loses_its_claim_at_once_and_who_has_it_is_named(tmp_path):
    process = hold(tmp_path, 0)
    assert take(tmp_path, NAME) is None
    assert holder(tmp_path, NAME).endswith(f"process {process.pid}")
    process.kill()
    process.communicate()
    take(tmp_path, NAME).release()


def test_a_claim_holds_while_the_child_of_a_killed_process_lives(tmp_path):
    process = hold(tmp_path, 1.5)
    process.kill()
    process.wait()
    process.stdout.close()
    assert take(tmp_path, NAME) is None
    for _ in range(100):
        if claim := take(tmp_path, NAME):
            claim.release()
            return
        subprocess.run(["sleep", "0.1"], check=True)
    pytest.fail("the claim outlives the child")


def test_a_claim_that_is_being_written_is_not_taken(tmp_path):
    claim = take(tmp_path, NAME)
    (tmp_path / NAME).write_text("")
    assert holder(tmp_path, NAME) == "by another process"
    assert take(tmp_path, NAME) is None
    claim.release()
