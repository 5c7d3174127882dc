"""Who works on which run: claims are files of a shared folder, taken atomically.

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

from sslx.files import to_json, write_atomically

EXPIRY = 600.0  # seconds without a heartbeat
BEAT = 20.0  # seconds between heartbeats


class Claim:
    """A run that this process works on, until `release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pids = [os.getpid()]
        self._stop = threading.Event()
        self._write(released=False)
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def lost(self) -> bool:
        """Return whether another process has taken the run over, because this one looked dead."""
        return _successor(self._path).exists()

    def includes(self, pid: int) -> None:
        """Let a child process work on the run too: the claim holds while either lives."""
        self._pids = [os.getpid(), pid]
        self._write(released=False)

    def release(self) -> None:
        """Give the run back."""
        self._stop.set()
        self._beating.join()
        self._write(released=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(OSError):  # a file server that is away for a moment
                os.utime(self._path)

    def _write(self, released: bool) -> None:
        pids = {str(pid): _started(pid) for pid in self._pids}
        text = to_json({"host": _host(), "pids": pids, "released": released})
        write_atomically(self._path, text)


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
    return Claim(path)


def newest_claim(folder: Path, name: str) -> Path | None:
    """Return the file of the run's newest claim."""
    claims = [path for path in folder.glob("*") if path.stem == name and path.suffix[1:].isdigit()]
    return max(claims, key=lambda path: int(path.suffix[1:]), default=None)


def is_over(path: Path) -> bool:
    """Return whether a claim is released, its processes are dead, or its heartbeat has expired."""
    claim = read_claim(path)
    if claim.get("released"):
        return True
    pids = claim.get("pids", {})
    dead = all(_started(int(pid)) != started for pid, started in pids.items())
    if pids and dead and claim["host"] == _host():
        return True
    return _now(path.parent) - path.stat().st_mtime > EXPIRY


def read_claim(path: Path) -> dict[str, Any]:
    """Return what a claim's file has; nothing while it is being written."""
    try:
        return json.loads(path.read_text())
    except ValueError:
        return {}


def _successor(path: Path) -> Path:
    return path.with_suffix(f".{int(path.suffix[1:]) + 1}")


def _now(folder: Path) -> float:
    """The time by the clock that stamps files in `folder`, maybe another machine's."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as clock:
        return os.stat(clock.name).st_mtime


def _host() -> str:
    """What process numbers are valid in: the machine since its last start, and the container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux has them
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When the process began, which tells it from a later one of the same number; "" if dead."""
    if Path("/proc/self/stat").exists():
        try:
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if state == "Z" else rest[18]
    try:  # not Linux
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:  # it lives, and is somebody else's
        pass
    return "alive"
