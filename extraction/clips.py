"""The clip: the one noun that walks through the house."""

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

ClipKind = Literal["frames", "video"]

ANNOTATIONS = ("signer", "gloss", "text", "label")
"""What people said of a clip: fields that may change without extracting it again."""
RANGE = ("start_frame", "end_frame", "start_ms", "end_ms")
"""Which part of its input a clip is."""
SPLIT_NAMES = ("train", "dev", "val", "test")
"""First folder of a path that names a split."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: a folder that directly holds its frames, or one video file.

    Attributes:
        clip_id: Unique name in the data set: the POSIX path relative to the root (without the
            extension for a video), always valid Unicode.
        uri: Where the clip lies; see :func:`to_uri`.
        kind: ``"frames"`` (a folder of images) or ``"video"`` (a file).
        split: ``"train"``, ``"dev"``, ... or None where the clip belongs to none.
        num_frames: Exact for a folder; for a video what its container claims, 0 where it is silent.
        fingerprint: Digest of the input's names, sizes and modification times.
        signer: Who signs, where the manifest says so.
        gloss: Gloss annotation, where the manifest says so.
        text: Translation, where the manifest says so.
        fps: Frames per second where the manifest says so; otherwise None, and a video's own rate
            or the job's default holds.
        label: Class of an isolated sign, as the data set names or numbers it.
        start_frame: Position in the input of the clip's first frame, where the clip is a part of it.
        end_frame: Position in the input behind the clip's last frame; None for the input's end.
        start_ms: Instead of a position: the clip's first frame is the first at this time or later, in
            milliseconds from the input's first frame.
        end_ms: And its frames are before this time; None for the input's end.

    Raises:
        ValueError: If an identifier is empty or not valid Unicode, or a number is out of range.
    """

    clip_id: str
    uri: str
    kind: ClipKind
    split: str | None = None
    num_frames: int = 0
    fingerprint: str = ""
    signer: str | None = None
    gloss: str | None = None
    text: str | None = None
    fps: float | None = None
    label: str | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    start_ms: float | None = None
    end_ms: float | None = None

    def __post_init__(self) -> None:
        if not self.clip_id or not self.uri:
            raise ValueError(f"a clip needs an id and a uri, found {self.clip_id!r} and {self.uri!r}")
        if self.kind not in ("frames", "video"):
            raise ValueError(f"clip {self.clip_id!r}: kind must be 'frames' or 'video', found {self.kind!r}")
        if self.num_frames < 0:
            raise ValueError(f"clip {self.clip_id!r}: num_frames must be 0 or more, found {self.num_frames}")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"clip {self.clip_id!r}: fps must be above 0 and finite, found {self.fps}")
        self._check_range()
        for text in (self.clip_id, self.uri):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError(f"{text!r} is not valid Unicode: use printable() or to_uri()") from None

    def _check_range(self) -> None:
        frames, times = (self.start_frame, self.end_frame), (self.start_ms, self.end_ms)
        if frames != (None, None) and times != (None, None):
            raise ValueError(f"clip {self.clip_id!r}: a range is in frames or in milliseconds, found both")
        for start, end in (frames, times):
            first = start or 0
            if not 0 <= first < float("inf") or (end is not None and not first < end < float("inf")):
                raise ValueError(
                    f"clip {self.clip_id!r}: a range must begin at 0 or later and end behind its beginning, "
                    f"found {start} to {end}"
                )

    @property
    def is_part(self) -> bool:
        """Whether the clip is a range of its input, not all of it."""
        return self.span != (None, None, None, None)

    @property
    def span(self) -> tuple[int | None, int | None, float | None, float | None]:
        """The range: ``start_frame``, ``end_frame``, ``start_ms``, ``end_ms``."""
        return (self.start_frame, self.end_frame, self.start_ms, self.end_ms)

    def holds(self, position: int, time_ms: float) -> bool:
        """Whether a frame of the input is one of the clip's.

        Args:
            position: Of the frame in the input, from 0.
            time_ms: Of the frame, from the input's first frame.
        """
        return (
            position >= (self.start_frame or 0)
            and time_ms >= (self.start_ms or 0.0)
            and not self.is_past(position, time_ms)
        )

    def is_past(self, position: int, time_ms: float) -> bool:
        """Whether a frame of the input lies behind the clip's last."""
        return (self.end_frame is not None and position >= self.end_frame) or (
            self.end_ms is not None and time_ms >= self.end_ms
        )

    @property
    def path(self) -> str:
        """The local path of the clip, as the file system functions of :mod:`os` want it."""
        return from_uri(self.uri)


def to_uri(path: str) -> str:
    """Names a local path so that it can be stored as text and found again, whatever bytes it holds.

    Args:
        path: A path as :func:`os.fsdecode` gives it; undecodable bytes are surrogates.

    Returns:
        The absolute path itself where it is valid Unicode, otherwise a percent-encoded ``file://`` URI.
    """
    path = os.path.abspath(path)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return path


def from_uri(uri: str) -> str:
    """Inverse of :func:`to_uri`; a plain path is returned as it is."""
    return os.fsdecode(unquote_to_bytes(uri[len("file://") :])) if uri.startswith("file://") else uri


def printable(name: str) -> str:
    r"""A name as valid Unicode: bytes that are not UTF-8 are written as ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
