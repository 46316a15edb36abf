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
from extraction.detectors import Detector, create_detector
from extraction.errors import ClipError, JobError
from extraction.extract import ClipExtraction
from extraction.gl import missing_library
from extraction.landmarks import FrameStatus
from extraction.messages import Broken, Done, Failed, NotReady, Progress, Ready, Setup

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HEARTBEAT_S = 0.5


def main() -> None:
    """Runs the child until its parent hangs up."""
    _die_with_parent()
    connection = Connection(int(sys.argv[1]))
    setup: Setup = connection.recv()
    try:
        detector = _make_detector(setup)
    except (JobError, ImportError, OSError) as error:
        # A library that is not there is OSError to ctypes; neither mends itself.
        connection.send(NotReady(missing_library(error) or str(error)))
        return
    connection.send(Ready(detector.info))
    try:
        while True:
            clip: Clip = connection.recv()
            if not _serve(connection, detector, clip, setup):
                # Not even closed: some detectors hang for ever in close after a graph error.
                os._exit(0)
    except (EOFError, OSError):
        # The parent hung up: nobody waits for an answer any more.
        os._exit(0)


def _make_detector(setup: Setup) -> Detector:
    import cv2  # here, so that a missing system library is told to the parent

    cv2.setNumThreads(1)
    if setup.detector.engine == "holistic":
        _do_without_pyplot()
    return create_detector(setup.detector)


def _serve(connection: Connection, detector: Detector, clip: Clip, setup: Setup) -> bool:
    """Does one clip; returns whether the detector can be used again."""
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
        connection.send(Broken(traceback.format_exc()))
        return False
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
