"""System calls that fail as on a bad network file system, told by the kernel itself (seccomp_unotify(2)).

For a process of its own, because it cannot be undone there. It holds for the calling thread::

    from failing_syscalls import fail
    met = fail("rename", errno.ESTALE, times=2, below="/data/out")
    os.replace(a, b)  # ESTALE twice, then as ever; met counts what was failed
"""

import ctypes
import fcntl
import os
import platform
import struct
import threading
from collections.abc import Mapping

# Number of a call, and which of its arguments is a path; rename(2) and rename alone are one for a test.
_CALLS: Mapping[str, Mapping[str, Mapping[int, int | None]]] = {
    "x86_64": {
        "open": {257: 1, 2: 0},
        "rename": {82: 0, 264: 1, 316: 1},
        "fsync": {74: None, 75: None},
        "stat": {4: 0, 262: 1, 332: 1},
        "unlink": {87: 0, 263: 1},
        "seccomp": {317: None},
    },
    "aarch64": {
        "open": {56: 1},
        "rename": {38: 1, 276: 1},
        "fsync": {82: None, 83: None},
        "stat": {79: 1, 291: 1},
        "unlink": {35: 1},
        "seccomp": {277: None},
    },
}
CAN_FAIL = platform.system() == "Linux" and platform.machine() in _CALLS

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_USER_NOTIF, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECV, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIF = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, and seccomp_data: number, arch, ip, arguments


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class _Listening:
    """Answers the kernel for the filtered thread; started before the filter, so that none holds for it."""

    def __init__(self, paths: Mapping[int, int | None], error: int, times: int | None, below: str) -> None:
        self.met = 0
        self._paths, self._error, self._times, self._below = paths, error, times, below.encode()
        self._descriptor, self._ready = -1, threading.Event()
        threading.Thread(target=self._answer, daemon=True).start()

    def begin(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ready.set()

    def _answer(self) -> None:
        self._ready.wait()
        while True:
            notice = bytearray(_NOTIF.size)
            fcntl.ioctl(self._descriptor, _RECV, notice)
            call, _, _, number, _, _, *arguments = _NOTIF.unpack(notice)
            fails = self._is_meant(number, arguments) and (self._times is None or self.met < self._times)
            self.met += fails
            answer = (call, 0, -self._error, 0) if fails else (call, 0, 0, _CONTINUE)
            fcntl.ioctl(self._descriptor, _SEND, bytearray(struct.pack("=QqiI", *answer)))

    def _is_meant(self, number: int, arguments: list[int]) -> bool:
        place = self._paths[number]
        return place is None or ctypes.string_at(arguments[place]).startswith(self._below)


def fail(call: str, error: int, times: int | None = None, below: str = "") -> _Listening:
    """Lets a system call of this thread fail from now on.

    Args:
        call: ``"open"``, ``"rename"``, ``"fsync"``, ``"stat"`` or ``"unlink"``.
        error: With this errno.
        times: So often; None for ever.
        below: Only where its path begins so; "" for all.
    """
    calls = _CALLS[platform.machine()]
    paths = calls[call]
    steps = [(_LOAD_WORD, 0, 0, 0)]
    for left, number in enumerate(reversed(paths)):
        steps.insert(1, (_JUMP_EQUAL, left + 1, 0, number))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _USER_NOTIF)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    kept = ctypes.create_string_buffer(code, len(code))
    listening = _Listening(paths, error, times, below)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(steps), ctypes.addressof(kept))
    (seccomp,) = calls["seccomp"]
    descriptor = libc.syscall(seccomp, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    listening.begin(descriptor)
    return listening
