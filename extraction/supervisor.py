"""DetectorProcess: the long-lived child that holds the detector, and what happens when it is lost.

Native code can crash, abort, hang, leak, or lose its GL context. Here that costs one child process, or
only its detector, and one attempt of the clip it had; the caller and every other clip go on.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from extraction import messages
from extraction.child import IDLE, Child
from extraction.clips import Clip
from extraction.detectors import DetectorInfo, DetectorOptions
from extraction.errors import ClipError, DetectorLostError, JobError, NoDetectorError
from extraction.frames import FrameOptions
from extraction.gl import Meaning, Place, explain
from extraction.gl_choice import DelegateChoice
from extraction.messages import StageTimes
from extraction.native_log import LAST_LINES, NativeLog
from extraction.pieces import Pieces
from extraction.policy import Policy, Step, Trial, ladder_of

_GROWN = 0.75
"""Of its limit of memory; a child above that is replaced between two clips, before one would pay for it."""


_KNOWN = frozenset(Meaning) - {Meaning.UNKNOWN, Meaning.NOISE}


@dataclass(frozen=True, slots=True)
class Extraction:
    """A finished clip.

    Attributes:
        pieces: Its landmarks, one piece or, for a long video, several.
        num_frames: Frame positions in all pieces.
        num_unreadable: Of these, frames that could not be read.
        info: The detector that found them.
        fingerprint: Of the input as it was read.
        times: Where the time of the successful attempt went.
        attempts: Attempts it took.
        retry_reasons: Why a detector was lost, in order; those lost before they stood begin with
            ``"start:"``.
    """

    pieces: Pieces
    num_frames: int
    num_unreadable: int
    info: DetectorInfo
    fingerprint: str
    times: StageTimes
    attempts: int
    retry_reasons: tuple[str, ...]


class DetectorProcess:
    """One detector in a child process, made once and reused; made again when it is lost.

    For one thread. Ends its child in :meth:`close`, and the child ends by itself when the thread or
    process that made it dies.

    Args:
        detector: What the detector is to be.
        frames: How frames are read.
        policy: When it counts as lost, and what is done then.
        max_frames_per_piece: Length of the pieces that a long clip comes in.
        log: Gets what its children write.
        job: Name under which this host's other workers share what they find out about its GPU.

    Attributes:
        events: Counts of what happened beside clips: losses by reason, refreshes, replaced children.
    """

    def __init__(
        self,
        detector: DetectorOptions,
        frames: FrameOptions | None = None,
        policy: Policy | None = None,
        max_frames_per_piece: int = 10_000,
        log: NativeLog | None = None,
        job: str = "",
    ) -> None:
        self._policy = policy or Policy()
        self._setup = messages.Setup(
            detector, frames or FrameOptions(), max_frames_per_piece, self._policy.idle_s
        )
        self._choice = DelegateChoice(detector, self._policy.gl_fallback, job)
        self._log = log or NativeLog()
        self._child: Child | None = None
        self._threads_at_first = 0
        self._lost: list[str] = []
        self.events: Counter[str] = Counter()

    def __enter__(self) -> "DetectorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def launch(self) -> None:
        """Starts the child without waiting for its detector, so that both can get on with their work."""
        if self._child is None and self._choice.is_made:
            detector = replace(self._setup.detector, delegate=self._choice.delegate)
            self._child = Child(replace(self._setup, detector=detector), self._log)

    def start(self) -> DetectorInfo:
        """Waits until the detector stands.

        Raises:
            JobError: If it cannot be made on this machine.
            NoDetectorError: If it did not come up in several tries.
        """
        if self._child is not None and self._child.process.poll() is not None:
            self.close()
        trial = self._policy.for_start()
        with self._choice.deciding():
            while True:
                self.launch()
                assert self._child is not None
                try:
                    info = self._child.wait_ready(self._policy.start_timeout_s)
                except DetectorLostError as lost:
                    if lost.reason == IDLE:
                        self.close()
                        continue
                    loss = self._meant(lost)
                    self._lost.append(f"start:{loss.reason}")
                    if self._next_step(trial, loss) is Step.GIVE_UP:
                        self.close()
                        raise NoDetectorError(self._no_detector(loss, trial)) from loss
                else:
                    self._choice.stands()
                    return info

    def extract(self, clip: Clip, on_progress: Callable[[int], None] | None = None) -> Extraction:
        """Extracts one clip, from its first frame again after each loss of the detector.

        Args:
            clip: What to extract.
            on_progress: Called after the clip's first frame, then about twice a second, with the number of
                its frames done.

        Raises:
            ClipError: If the clip fails; ``attempts`` of it stands in ``error.attempts``.
            JobError: If no detector can be made.
        """
        self._refresh_if_due()
        trial = self._policy.for_clip()
        while True:
            info = self.start()
            assert self._child is not None
            try:
                pieces, done = self._child.extract(
                    clip, self._policy.frame_timeout_s, self._policy.max_worker_rss_mb, on_progress
                )
            except ClipError as error:
                error.attempts = len(trial.reasons) + 1
                self._clip_over()
                raise
            except DetectorLostError as lost:
                if lost.reason == IDLE:
                    self.close()
                    continue
                loss = self._meant(lost)
                self._lost.append(loss.reason)
                if self._next_step(trial, loss) is Step.GIVE_UP:
                    self.close()
                    self._clip_over()
                    raise _failure(loss, trial) from loss
            else:
                losses = self._clip_over()
                self._threads_at_first = self._threads_at_first or self._child.num_threads()
                return Extraction(
                    pieces,
                    done.num_frames,
                    done.num_unreadable,
                    info,
                    done.fingerprint,
                    done.times,
                    len(trial.reasons) + 1,
                    losses,
                )

    @property
    def child_pid(self) -> int | None:
        """Process id of the living child."""
        return None if self._child is None else self._child.process.pid

    @property
    def notice(self) -> str:
        """What a person should know of this worker: that it does without the GPU, and why; else ""."""
        return self._choice.notice

    def close(self) -> None:
        """Ends the child at once; it holds nothing that needs a farewell."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _meant(self, loss: DetectorLostError) -> DetectorLostError:
        """The same words mean another thing once the GPU has worked: others hold it, or it was lost."""
        if loss.reason == Meaning.NO_EGL and self._choice.gpu_has_worked:
            return DetectorLostError(Meaning.CONTEXT, str(loss))
        return loss

    def _clip_over(self) -> tuple[str, ...]:
        """What is known of one clip only is forgotten; returns why it lost detectors."""
        self._choice.clip_done()
        lost, self._lost = tuple(self._lost), []
        return lost

    def _next_step(self, trial: Trial, loss: DetectorLostError) -> Step:
        """Takes the next step down the ladder, as far as that is possible without a new child."""
        step = trial.next_step(loss.reason, self._choice.delegate)
        self.events[f"lost: {self._lost[-1]}"] += 1
        if ladder_of(loss.reason) == Meaning.CONFIGURATION:
            self.close()
            raise JobError(self._unfit(loss)) from loss
        if step in (Step.AGAIN, Step.RESTART):
            time.sleep(trial.backoff_s(loss.reason))
        if step is Step.AGAIN and self._child is not None and self._child.remake():
            return step
        self.close()
        if step is Step.CPU:
            started = not self._lost[-1].startswith("start:")
            self._choice.fall_back(loss, self._policy.refresh_minutes * 60, started)
        return step

    def _unfit(self, loss: DetectorLostError) -> str:
        """Says in a sentence what no retry can mend."""
        found = explain(str(loss), Place.EXCEPTION)
        detector = self._setup.detector
        model = f" {detector.model}:" if detector.model else ""
        return (
            f"engine {detector.engine!r}:{model} {found.means}: {found.advice}; "
            f"the last words were: {_last_words(loss)}"
        )

    def _no_detector(self, loss: DetectorLostError, trial: Trial) -> str:
        """Says why no detector can be had: in the catalogue's words where it knows them."""
        tries = len(trial.reasons)
        text = f"the detector did not come up in {tries} tries on {socket.gethostname()}: "
        if loss.reason not in _KNOWN:
            return f"{text}{', '.join(trial.reasons)}; the last one: {loss}"
        found = explain(str(loss), Place.EXCEPTION)
        codes = f" ({', '.join(found.codes)})" if found.codes else ""
        advice = f"{found.advice}; " if found.advice else ""
        if self._choice.delegate == "gpu" and self._policy.gl_fallback == "fail":
            advice += "--gl-fallback cpu, or --delegate cpu, goes on without the GPU; "
        return f"{text}{found.means}{codes}: {advice}the last words were: {_last_words(loss)}"

    def _refresh_if_due(self) -> None:
        """Between two clips: a new detector now and then, a new child where the old one has grown."""
        child = self._child
        if child is None or not child.clips:
            return
        age_min = (time.monotonic() - child.made_at) / 60
        rss_mb, policy = child.rss_mb(), self._policy
        if child.delegate != self._choice.delegate:
            self._replace(f"back on the {self._choice.delegate}")
        elif policy.max_worker_rss_mb and rss_mb > policy.max_worker_rss_mb * _GROWN:
            self._replace("replaced: memory")
        elif self._threads_at_first and child.num_threads() > self._threads_at_first + policy.max_new_threads:
            self._replace("replaced: threads")
        elif (policy.refresh_clips and child.clips >= policy.refresh_clips) or (
            policy.refresh_minutes and age_min >= policy.refresh_minutes
        ):
            self.events["refreshed"] += 1
            if not child.remake():
                self.close()

    def _replace(self, event: str) -> None:
        self.events[event] += 1
        self._threads_at_first = 0
        self.close()


def _last_words(loss: DetectorLostError) -> str:
    """The last line of an exception's trace, without what native code wrote beside it."""
    trace = str(loss).partition(LAST_LINES)[0].strip()
    return trace.splitlines()[-1] if trace else ""


def _failure(loss: DetectorLostError, trial: Trial) -> ClipError:
    history = f" (losses: {', '.join(trial.reasons)})" if len(set(trial.reasons)) > 1 else ""
    failure = ClipError("detect", loss.reason, f"{loss}{history}")
    failure.attempts = len(trial.reasons)
    return failure
