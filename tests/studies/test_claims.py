"""A run belongs to one process at a time, and to another one when that is dead."""

import subprocess
import sys
import time
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


def take_soon(folder):
    """Take the claim of processes that have ended: the system closes their files one by one."""
    for _ in range(100):
        if claim := take(folder, NAME):
            return claim
        time.sleep(0.1)
    pytest.fail("the claim outlives its processes")


def test_a_claim_is_taken_once_until_it_is_given_back(tmp_path):
    assert holder(tmp_path, NAME) == ""
    claim = take(tmp_path, NAME)
    assert take(tmp_path, NAME) is None
    assert holder(tmp_path, NAME).startswith("on ")
    take(tmp_path, NAME.replace("0.1", "0.2")).close()
    claim.close()
    assert holder(tmp_path, NAME) == ""
    take(tmp_path, NAME).close()


def test_of_16_that_try_at_once_one_gets_it(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        tries = list(pool.map(lambda _: take(tmp_path, NAME), range(16)))
    claims = [claim for claim in tries if claim]
    assert len(claims) == 1
    claims[0].close()


def test_a_killed_process_loses_its_claim_at_once_and_who_has_it_is_named(tmp_path):
    process = hold(tmp_path, 0)
    assert take(tmp_path, NAME) is None
    assert holder(tmp_path, NAME).endswith(f"process {process.pid}")
    process.kill()
    process.communicate()
    take_soon(tmp_path).close()


def test_a_claim_holds_while_the_child_of_a_killed_process_lives(tmp_path):
    process = hold(tmp_path, 1.5)
    process.kill()
    process.wait()
    process.stdout.close()
    assert take(tmp_path, NAME) is None
    take_soon(tmp_path).close()


def test_a_claim_that_is_being_written_is_not_taken(tmp_path):
    claim = take(tmp_path, NAME)
    (tmp_path / NAME).write_text("")
    assert holder(tmp_path, NAME) == "by another process"
    assert take(tmp_path, NAME) is None
    claim.close()
