"""Which delegate a worker uses now: what was asked for, what its host can do, what went wrong lately."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from extraction import gl_host
from extraction.detectors import DetectorOptions, delegates
from extraction.errors import DetectorLostError, JobError
from extraction.gl import Meaning, Place, explain
from extraction.gl_host import HostVerdict
from extraction.gl_probe import probe
from extraction.native_log import LAST_LINES

_GAVE_WAY = 3
"""Clips in a row; each costs its time limits before the CPU gets it."""
_HOPELESS = (Meaning.NO_EGL, Meaning.NO_GPU_IN_BUILD)


class DelegateChoice:
    """The delegate of one worker; it may change from clip to clip.

    Args:
        options: What was asked for.
        gl_fallback: ``"cpu"`` or ``"fail"``; see :class:`extraction.policy.Policy`.
        job: Name under which the workers of this host share what they find out.

    Attributes:
        is_made: Whether :attr:`delegate` says something yet.
        gpu_has_worked: Whether a detector of this host stood on the GPU before.
        notice: That this worker does without the GPU, and why, for a person; "" otherwise.
    """

    def __init__(self, options: DetectorOptions, gl_fallback: str, job: str) -> None:
        self._wanted = options.delegate
        if self._wanted == "auto" and "gpu" not in delegates(options.engine):
            self._wanted = "cpu"
        self._gl_fallback, self._job = gl_fallback, job
        self._cpu_until = float("inf") if self._wanted == "cpu" else 0.0
        self._cpu_for_clip = False
        self._finding_out = False
        self.is_made = self._wanted == "cpu"
        self.gpu_has_worked = False
        self._gave_way = 0
        self.notice = ""

    @property
    def delegate(self) -> str:
        """``"cpu"`` or ``"gpu"``."""
        return "cpu" if self._cpu_for_clip or time.monotonic() < self._cpu_until else "gpu"

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Makes the choice, for the first detector of this worker, and lasts while that is made.

        Of the workers of a host only one finds out whether its GPU works; the others wait for it.

        Raises:
            JobError: If the host has no GPU to use and ``gl_fallback`` is ``"fail"``.
        """
        if self.is_made:
            yield
            return
        with gl_host.deciding(self._job) as known:
            verdict = known
            self.gpu_has_worked = known is not None and known.works
            if known is None and self._wanted == "auto":
                verdict = _probed()
                gl_host.remember(verdict, self._job)
            self._finding_out = verdict is None
            if verdict is not None and not verdict.works:
                self.do_without(verdict.reason)
            self.is_made = True
            yield

    def stands(self) -> None:
        """A detector was made with this delegate."""
        if self.delegate == "gpu":
            self.gpu_has_worked = True
        if self._finding_out and self.delegate == "gpu":
            gl_host.remember(HostVerdict(works=True, reason=""), self._job)
        self._finding_out = False

    def fall_back(self, loss: DetectorLostError, for_s: float, stood: bool = True) -> None:
        """Takes the CPU: for good where the host cannot do better, for this clip otherwise.

        Args:
            loss: Why.
            for_s: How long a lost GL context keeps a worker from the GPU; 0 for good. So does a detector that
                does not come up there, and the third clip in a row that the GPU could not do.
            stood: Whether the detector that was lost had come up.
        """
        if loss.reason in _HOPELESS:
            reason = _in_words(loss)
            gl_host.remember(HostVerdict(works=False, reason=reason), self._job)
            self.do_without(reason)
        elif loss.reason == Meaning.CONTEXT or not stood or self._gave_way + 1 >= _GAVE_WAY:
            self._gave_way = 0
            self._cpu_until = time.monotonic() + (for_s or float("inf"))
            self.notice = _told(f"for {for_s / 60:.0f} minutes" if for_s else "from now on", _in_words(loss))
        else:
            self._gave_way += 1
            self._cpu_for_clip = True

    def clip_done(self) -> None:
        """The clip that had to do without the GPU is done or given up."""
        if not self._cpu_for_clip:
            self._gave_way = 0
        self._cpu_for_clip = False

    def do_without(self, reason: str) -> None:
        """Takes the CPU for good.

        Args:
            reason: Why, in words.

        Raises:
            JobError: If that was not wanted.
        """
        if self._wanted == "gpu" and self._gl_fallback == "fail":
            raise JobError(
                f"{socket.gethostname()}: --delegate gpu with --gl-fallback fail: {reason}; "
                "`landmarks doctor` on that machine says more; --delegate cpu, or --gl-fallback cpu, goes on"
            )
        self._cpu_until = float("inf")
        if self._wanted == "gpu":
            self.notice = _told("from now on", reason)


def _in_words(loss: DetectorLostError) -> str:
    found = explain(str(loss), Place.EXCEPTION)
    if found.meaning is Meaning.UNKNOWN:
        return str(loss).partition(LAST_LINES)[0].strip().splitlines()[-1]
    return f"{found.means} ({', '.join(found.codes)})" if found.codes else found.means


def _told(how_long: str, reason: str) -> str:
    return (
        f"{socket.gethostname()}: the GPU was asked for, and clips run on the CPU {how_long}: {reason}; "
        "`landmarks doctor` on that machine says more, --gl-fallback fail stops the job instead"
    )


def foreseen(options: DetectorOptions, gl_fallback: str) -> tuple[HostVerdict, str] | None:
    """Finds out, before anything is started, that this host will do without the GPU that was asked for.

    Args:
        options: What was asked for.
        gl_fallback: See :class:`DelegateChoice`.

    Returns:
        What its workers would find out, and the sentence for a person; None where there is nothing to say.

    Raises:
        JobError: If ``gl_fallback`` is ``"fail"``.
    """
    if options.delegate != "gpu" or (found := probe()).ok:
        return None
    choice = DelegateChoice(options, gl_fallback, "")
    choice.do_without(found.error)
    return HostVerdict(works=False, reason=found.error), choice.notice


def _probed() -> HostVerdict:
    found = probe()
    if found.ok and found.software:
        return HostVerdict(works=False, reason=f"only software GL was found here: {found.renderer}")
    return HostVerdict(works=found.ok, reason=found.error, renderer=found.renderer)
