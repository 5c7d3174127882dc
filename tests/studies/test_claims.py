"""A run belongs to one process at a time, and to another one when that is dead."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sslx.studies import claims
from sslx.studies.claims import is_over, newest_claim, read_claim, take

NAME = "mnist5k-simclr-learning_rate=0.1-seed=0"  # dots, as names have them
HOLD = """
import sys, time
from pathlib import Path
from sslx.studies.claims import take
print(take(Path(sys.argv[1]), sys.argv[2]) is not None, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the claim."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, NAME], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_a_claim_is_taken_once_until_it_is_released(tmp_path):
    claim = take(tmp_path, NAME)
    assert newest_claim(tmp_path, NAME).name == f"{NAME}.1"
    assert take(tmp_path, NAME) is None
    assert take(tmp_path, NAME.replace("0.1", "0.2")) is not None
    claim.release()
    again = take(tmp_path, NAME)
    assert newest_claim(tmp_path, NAME).name == f"{NAME}.2"
    assert claim.lost()
    assert not again.lost()
    again.release()


def test_of_16_that_ask_at_once_one_gets_it(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: take(tmp_path, NAME), range(16)))
    assert sum(claim is not None for claim in got) == 1


def test_of_those_that_see_the_same_stale_claim_one_takes_it(tmp_path, monkeypatch):
    take(tmp_path, NAME).release()
    seen = newest_claim(tmp_path, NAME)
    monkeypatch.setattr(claims, "newest_claim", lambda *_: seen)  # what all of them have just seen
    got = [take(tmp_path, NAME) for _ in range(4)]
    assert sum(claim is not None for claim in got) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NAME}.1", f"{NAME}.2"]


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it_at_once(tmp_path, holder):
    assert take(tmp_path, NAME) is None
    holder.kill()
    holder.wait()
    assert take(tmp_path, NAME) is not None
    assert newest_claim(tmp_path, NAME).name == f"{NAME}.2"


def test_a_claim_holds_while_the_child_of_a_killed_process_lives(tmp_path, holder):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    claim = take(tmp_path, "other")
    claim.includes(child.pid)
    path = newest_claim(tmp_path, "other")
    fields = read_claim(path)
    fields["pids"] = {str(child.pid): fields["pids"][str(child.pid)]}
    path.write_text(json.dumps(fields))  # as if this process were dead
    assert not is_over(path)
    child.kill()
    child.wait()
    assert is_over(path)


def test_a_claim_from_another_machine_expires_by_its_heartbeat(tmp_path):
    claim = take(tmp_path, NAME)
    path = newest_claim(tmp_path, NAME)
    path.write_text(json.dumps({"host": "elsewhere", "pids": {"1": "5"}}))
    assert take(tmp_path, NAME) is None
    past = time.time() - claims.EXPIRY - 1
    os.utime(path, (past, past))
    assert take(tmp_path, NAME) is not None
    assert claim.lost()


def test_a_heartbeat_keeps_a_claim_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    claim = take(tmp_path, NAME)
    path = newest_claim(tmp_path, NAME)
    os.utime(path, (1, 1))
    deadline = time.time() + 10
    while path.stat().st_mtime < 2:
        assert time.time() < deadline
        time.sleep(0.02)
    claim.release()
    assert read_claim(path)["released"]


def test_a_claim_that_is_being_written_is_not_taken(tmp_path):
    tmp_path.joinpath(f"{NAME}.3").write_text("")
    assert take(tmp_path, NAME) is None
