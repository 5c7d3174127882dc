"""Who works on which run: claims are files of a shared folder, taken atomically, and a stale one
can be taken over.

The k-th claim of a run is the file NAME.k. Whoever creates it, which only one process can, has the
run. Nothing is ever deleted: a claim is over when its file says "released", when its processes are
dead (seen from the same machine), or when its heartbeat has been missing for `EXPIRY` seconds; then
NAME.(k+1) may be created. So two processes that find the same stale claim cannot both take it.
"""

import contextlib
import json
import os
import platform
import tempfile
import threading
from pathlib import Path
from typing import Any

EXPIRY = (
    600.0  # seconds without a heartbeat; clocks of several machines are not compared, see `_now`
)
BEAT = 20.0


class Claim:
    """A run that this process works on, until `release`."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number  # how often the run has been claimed, this time included
        self._path, self._pids = path, [os.getpid()]
        self._stop = threading.Event()
        self._write({})
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def lost(self) -> bool:
        """Whether another process has taken the run over, because this one was thought dead."""
        return _successor(self._path).exists()

    def includes(self, pid: int) -> None:
        """A child process works on the run too: the claim holds while either lives."""
        self._pids = [os.getpid(), pid]
        self._write({})

    def release(self, **said: Any) -> None:
        """Give the run back, with what there is to say about it."""
        self._stop.set()
        self._beating.join()
        self._write({"released": True} | said)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(OSError):  # a file server that is away for a moment
                os.utime(self._path)

    def _write(self, said: dict[str, Any]) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        pids = {str(pid): _started(pid) for pid in self._pids}
        temporary.write_text(json.dumps({"host": _host(), "pids": pids} | said))
        temporary.replace(self._path)


def take(folder: Path, name: str) -> Claim | None:
    """Claim the run `name` in the folder of claims; None where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    newest = newest_claim(folder, name)
    if newest and not is_over(newest):
        return None
    path = _successor(newest) if newest else folder / f"{name}.1"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return None
    return Claim(path, int(path.suffix[1:]))


def newest_claim(folder: Path, name: str) -> Path | None:
    """The file of the run's newest claim."""
    numbers = [int(end) for path in folder.glob("*") if (end := _number(path, name))]
    return folder / f"{name}.{max(numbers)}" if numbers else None


def is_over(path: Path) -> bool:
    """Whether a claim has been released, its processes are dead, or its heartbeat has expired."""
    said = read_claim(path)
    if said.get("released"):
        return True
    pids = said.get("pids", {})
    if (
        pids
        and said["host"] == _host()
        and all(_started(int(pid)) != started for pid, started in pids.items())
    ):
        return True
    return _now(path.parent) - path.stat().st_mtime > EXPIRY


def read_claim(path: Path) -> dict[str, Any]:
    """What a claim's file says; nothing while it is being written."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        return {}


def _successor(path: Path) -> Path:
    return path.with_suffix(f".{int(path.suffix[1:]) + 1}")


def _number(path: Path, name: str) -> str:
    start, _, end = path.name.rpartition(".")
    return end if start == name and end.isdigit() else ""


def _now(folder: Path) -> float:
    """The time by the clock that stamps files in `folder`, which on a network is another machine's."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as clock:
        return os.stat(clock.name).st_mtime


def _host() -> str:
    """What process numbers are valid in: the machine since its last start, and the container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux has them
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return " ".join(parts)


def _started(pid: int) -> str:
    """When the process began, which tells it from a later one of the same number; "" when there is
    none.
    """
    if not Path("/proc/self/stat").exists():
        return "alive" if _exists(pid) else ""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else rest[18]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
