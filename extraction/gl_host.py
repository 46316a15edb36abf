"""What is known of this host's GPU, shared by all workers on it, so that not each of them finds it out.

Kept as small files in a folder of this user's own under the folder for temporary files. Where that cannot
be had, nothing is remembered and each worker finds out by itself.
"""

import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from extraction.detectors.registry import mediapipe_version

_EXPIRES_S = 3600.0
"""After so long a host that was mended gets another chance."""
_PRUNED_S = 24 * 3600.0
_WAIT_S = 150.0
"""As long as a detector may take to come up, which is what the first worker waits for, and a little more."""

# Variables that change which driver EGL finds and what it does: of libEGL and libglvnd, Mesa, NVIDIA's driver
# and container runtime, of window systems, and of the dynamic linker. Not CUDA_VISIBLE_DEVICES, which differs
# from worker to worker and which EGL does not know.
_PREFIXES = ("EGL", "__EGL", "__GL", "MESA", "LIBGL", "GALLIUM", "DRI_", "NVIDIA_", "LD_")
_NAMES = ("DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """Whether detectors of this host can use its GPU.

    Attributes:
        works: Whether one did, or would.
        reason: Why not, in a sentence; "" otherwise.
        renderer: GL_RENDERER, where it is known.
        unix_s: When this was found out.
    """

    works: bool
    reason: str = ""
    renderer: str = ""
    unix_s: float = field(default_factory=time.time)


@contextmanager
def deciding(scope: str = "", wait_s: float = _WAIT_S) -> Iterator[HostVerdict | None]:
    """Yields what is known of this host; None where the body has to find it out, and others wait for it.

    They go on as soon as the body calls :func:`remember`, when it ends, and when its process dies.

    Args:
        scope: Those who share a verdict use the same one, such as the name of a job.
        wait_s: A worker that has waited for so long finds out by itself beside the other.
    """
    if (known := recall(scope)) is not None:
        yield known
        return
    lock = _open_lock(scope)
    try:
        if lock is not None:
            known = _wait(lock, scope, wait_s)
        yield known
    finally:
        if lock is not None:
            os.close(lock)


def recall(scope: str = "") -> HostVerdict | None:
    """What was found out within the last hour, on this host since it started, in the same circumstances.

    Args:
        scope: See :func:`deciding`.
    """
    folder = _folder()
    if folder is None:
        return None
    try:
        found = json.loads((folder / f"{_key(scope)}.json").read_bytes())
        verdict = HostVerdict(
            works=_truth(found["works"]),
            reason=str(found["reason"]),
            renderer=str(found["renderer"]),
            unix_s=float(found["unix_s"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    # A verdict from the future is one from before the clock was set.
    return verdict if 0 <= time.time() - verdict.unix_s < _EXPIRES_S else None


def remember(verdict: HostVerdict, scope: str = "") -> None:
    """Keeps what was found out, if there is a place for it.

    Args:
        verdict: Takes the place of the one before.
        scope: See :func:`deciding`.
    """
    folder = _folder(make=True)
    if folder is None:
        return
    target = folder / f"{_key(scope)}.json"
    # Whole or not at all, whoever writes at the same time.
    part = target.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    try:
        part.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
        part.replace(target)
    except OSError:
        with suppress(OSError):
            part.unlink()
    _prune(folder)


def forget(scope: str = "") -> None:
    """Drops what was found out.

    Args:
        scope: See :func:`deciding`.
    """
    folder = _folder()
    if folder is not None:
        with suppress(OSError):
            (folder / f"{_key(scope)}.json").unlink()


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r}")
    return value


def _key(scope: str) -> str:
    """Names the circumstances: this start of the machine, MediaPipe, and what the environment says of EGL."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    environment = sorted(
        (name, value) for name, value in os.environ.items() if name.startswith(_PREFIXES) or name in _NAMES
    )
    circumstances = json.dumps([scope, boot, mediapipe_version(), environment])
    return hashlib.sha256(circumstances.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _folder(make: bool = False) -> Path | None:
    """This user's folder, if it is there and nobody else can write in it."""
    try:
        # Not tempfile's choice, which may be the current folder.
        folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"ray-landmarks-gl-{os.geteuid()}"
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if ours else None


def _open_lock(scope: str) -> int | None:
    folder = _folder(make=True)
    if folder is None:
        return None
    try:
        lock = os.open(folder / f"{_key(scope)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.utime(lock)
    except OSError:
        return None
    return lock


def _wait(lock: int, scope: str, wait_s: float) -> HostVerdict | None:
    """Waits until the lock is ours, or the one who has it has found out; returns what is known then."""
    deadline, pause_s = time.monotonic() + wait_s, 0.02
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # On a file system without locks nobody waits for anybody.
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR) or time.monotonic() >= deadline:
                return recall(scope)
        else:
            return recall(scope)
        if (known := recall(scope)) is not None:
            return known
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)


def _prune(folder: Path) -> None:
    """Removes what no worker has touched for a day: files of jobs and starts of the machine that are over."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _PRUNED_S:
                    os.unlink(entry.path)
