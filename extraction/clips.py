"""The clip: the one noun that walks through the house."""

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

ClipKind = Literal["frames", "video"]


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

    def __post_init__(self) -> None:
        if not self.clip_id or not self.uri:
            raise ValueError(f"a clip needs an id and a uri, found {self.clip_id!r} and {self.uri!r}")
        if self.kind not in ("frames", "video"):
            raise ValueError(f"clip {self.clip_id!r}: kind must be 'frames' or 'video', found {self.kind!r}")
        if self.num_frames < 0:
            raise ValueError(f"clip {self.clip_id!r}: num_frames must be 0 or more, found {self.num_frames}")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"clip {self.clip_id!r}: fps must be above 0 and finite, found {self.fps}")
        for text in (self.clip_id, self.uri):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError(f"{text!r} is not valid Unicode: use printable() or to_uri()") from None

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
