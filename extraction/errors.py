"""The error tree, named by what the caller does next: stop the job, fail this clip, or try again."""


class LandmarksError(Exception):
    """Base of every error this project raises on purpose."""


class JobError(LandmarksError):
    """Stop the job: it was asked for wrongly, or this machine cannot do it.

    The message says what was expected, what was found and what to do next.
    """


class NoDetectorError(JobError):
    """Stop the job, or leave this machine out of it: its detectors do not come up, however often."""


class FailureLimitError(JobError):
    """Stop the job: so many clips failed that something is wrong beyond them."""


class ClipError(LandmarksError):
    """Fail this clip and go on: trying it again would end the same way.

    Attributes:
        stage: Where it happened: ``"open"``, ``"decode"``, ``"detect"`` or ``"write"``.
        reason: Short stable word for counting, such as ``"no-readable-frame"``.
        attempts: How often the clip was tried.
    """

    def __init__(self, stage: str, reason: str, text: str) -> None:
        super().__init__(text)
        self.stage = stage
        self.reason = reason
        self.attempts = 1

    def __reduce__(self) -> tuple[type["ClipError"], tuple[str, str, str]]:
        return type(self), (self.stage, self.reason, str(self))


class DetectorLostError(LandmarksError):
    """Try again: the detector died, hung or broke while it had this clip.

    Attributes:
        reason: Short stable word for counting, such as ``"signal"``, ``"exit"``, ``"timeout"``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[type["DetectorLostError"], tuple[str, str]]:
        return type(self), (self.reason, str(self))
