"""A data set beside its input as it lies there now: the same clips, frames and fingerprints."""

from collections.abc import Iterable, Iterator

from extraction.clips import Clip, from_uri
from storage.verified import Finding

_MANIFESTS = (".csv", ".tsv", ".parquet")
Span = tuple[int | None, int | None, float | None, float | None]


class InputClips:
    """The clips of an input as they are found now, whatever they are called by now.

    A clip is known by its place below the root, and where nothing lies there by its id: a table of
    annotations may have named it, and may be another one now, or none.

    Args:
        clips: As they are found now.
        then: The root, or the manifest, of which the data set was made; "" where that is not known.
        now: The root, or the manifest, that they were found in.
        hint: What else to try where a clip is not found, for people.
    """

    def __init__(self, clips: Iterable[Clip], then: str = "", now: str = "", hint: str = "") -> None:
        self._by_id = {clip.clip_id: clip for clip in clips}
        self._then, self.now, self.hint = _folder(then), now, hint
        self._root = _folder(now)
        places = ((_below(clip.uri, self._root), clip) for clip in self._by_id.values())
        self._by_place = {(place, clip.span): clip for place, clip in places if place is not None}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self._by_id.values())

    def find(self, clip_id: str, uri: str, span: Span) -> Clip | None:
        """The clip that was read from a place when the data set was made; None where it is gone.

        Args:
            clip_id: Its id in the data set.
            uri: Where it lay.
            span: Which part of that input it is.
        """
        place, by_id = _below(uri, self._then), self._by_id.get(clip_id)
        if place is None or (by_id and (_below(by_id.uri, self._root), by_id.span) == (place, span)):
            return by_id  # of several clips at one place, such as translations, the one of its name
        return self._by_place.get((place, span)) or by_id


def input_findings(now: Clip | None, num_frames: int, fingerprint: str, span: Span) -> Iterator[Finding]:
    """Compares a clip of the data set with its input.

    Args:
        now: Its input; None where it is gone.
        num_frames: That the data set has of it.
        fingerprint: Of the input when it was read; "" where unknown.
        span: The part of the input that it is in the data set.

    Yields:
        What differs.
    """
    if now is None:
        yield "input", "is no longer in the input"
    elif now.span != span:
        yield "input", f"is {_told(span)} of its input, now it would be {_told(now.span)}"
    elif now.kind == "frames" and not now.is_part and now.num_frames != num_frames:
        yield "input", f"{num_frames} frames, the input now has {now.num_frames}"
    elif fingerprint and now.fingerprint and fingerprint != now.fingerprint:
        yield (
            "input",
            "names, sizes or times of the input's files have changed since (fingerprint "
            f"{fingerprint}, now {now.fingerprint})",
        )


def _folder(source: str) -> str:
    """The folder that clips lie below; a manifest names them from its own."""
    source = source.rstrip("/")
    return source.rpartition("/")[0] if source.lower().endswith(_MANIFESTS) else source


def _below(uri: str, root: str) -> str | None:
    """Where an input lies below a root; None where it lies elsewhere."""
    path = from_uri(uri)
    return path[len(root) + 1 :] if root and path.startswith(f"{root}/") else None


def _told(span: Span) -> str:
    for (start, end), unit in ((span[:2], "frames"), (span[2:], "ms")):
        if (start, end) != (None, None):
            return f"{unit} {start or 0} to {'the end' if end is None else end}"
    return "all"
