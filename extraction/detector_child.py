"""The child process that holds one detector: what runs on the far side of `extraction.supervisor`.

It gets clips (paths, not pixels) over a socket, decodes, detects and sends arrays back, until the
socket closes or its parent dies.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
import types
from multiprocessing.connection import Connection

from extraction.clips import Clip
from extraction.detectors import ENGINES, Detector, create_detector
from extraction.errors import ClipError, JobError
from extraction.extract import ClipExtraction
from extraction.gl import missing_library
from extraction.landmarks import FrameStatus
from extraction.messages import (
    IDLE_EXIT_CODE,
    Broken,
    Done,
    Failed,
    NotReady,
    Progress,
    Ready,
    Remake,
    Setup,
)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HEARTBEAT_S = 0.5
_MAX_POLL_S = 1_000_000.0
"""poll(2) counts milliseconds in 31 bits: 24 days."""


def main() -> None:
    """Runs the child until its parent hangs up, or it has had no clip for long."""
    _die_with_parent()
    connection = Connection(int(sys.argv[1]))
    try:
        setup: Setup = connection.recv()
        detector = _make(connection, setup)
        while True:
            if setup.idle_s and not connection.poll(min(setup.idle_s, _MAX_POLL_S)):
                # The whole process: a detector that is closed leaves threads and memory behind.
                os._exit(IDLE_EXIT_CODE)
            message: Clip | Remake = connection.recv()
            if isinstance(message, Remake):
                _close(detector)
                detector = _make(connection, setup)
            elif detector is None:
                connection.send(Broken("expected a detector, found none: it was not made", ends=True))
                os._exit(0)
            elif not _serve(connection, detector, message, setup):
                # Not even closed: some detectors hang for ever in close after a graph error.
                os._exit(0)
    except (EOFError, OSError):
        # The parent hung up: nobody waits for an answer any more.
        os._exit(0)


def _make(connection: Connection, setup: Setup) -> Detector | None:
    """Makes the detector and tells the parent; None where it could not be made this time."""
    try:
        import cv2  # here, so that a missing system library is told to the parent

        cv2.setNumThreads(1)
        if setup.detector.engine in ENGINES:
            _do_without_pyplot()
        detector = create_detector(setup.detector)
    except (JobError, ImportError) as error:
        connection.send(NotReady(missing_library(error) or str(error)))
        os._exit(0)
    except Exception as error:
        if explained := missing_library(error):
            # A library that is not there is OSError to ctypes; it does not mend itself.
            connection.send(NotReady(explained))
            os._exit(0)
        connection.send(Broken(traceback.format_exc(), ends=False))
        return None
    connection.send(Ready(detector.info))
    return detector


def _close(detector: Detector | None) -> None:
    """Lets a detector go; what it complains of belongs to the past, and stands in the log."""
    try:
        if detector is not None:
            detector.close()
    except Exception:
        traceback.print_exc()


def _serve(connection: Connection, detector: Detector, clip: Clip, setup: Setup) -> bool:
    """Does one clip; returns whether the process can be used again."""
    last_sent = float("-inf")
    num_frames = num_unreadable = 0

    def on_frame(num_frames: int) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent >= _HEARTBEAT_S:
            connection.send(Progress(num_frames))
            last_sent = time.monotonic()

    try:
        extraction = ClipExtraction(clip, detector, setup.frames, setup.max_frames_per_piece, on_frame)
        for piece in extraction:
            connection.send(piece)
            num_frames += len(piece)
            num_unreadable += int((piece.frame_status == FrameStatus.UNREADABLE).sum())
        connection.send(Done(num_frames, num_unreadable, extraction.fingerprint, extraction.times))
    except ClipError as error:
        connection.send(Failed(error))
    except ConnectionError:
        raise
    except Exception:
        connection.send(Broken(traceback.format_exc(), ends=not detector.info.closes_after_error))
        return detector.info.closes_after_error
    return True


def _die_with_parent() -> None:
    """Makes sure that no child outlives its parent, even one that is lost in native code."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C reaches the whole foreground group; the parent decides what becomes of the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        # The signal above is bound to the parent's thread; this one also holds without it.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do_without_pyplot() -> None:
    """Spares the child most of a second: MediaPipe's drawing helpers import pyplot, nothing here draws."""
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(name, types.ModuleType(name))
