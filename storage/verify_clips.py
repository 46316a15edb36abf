"""Every clip of a data set held to its plan: once, whole, in its place, done or failed; and to its input."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extraction.clips import ANNOTATIONS, RANGE, Clip
from extraction.errors import JobError
from storage.plan import Plan
from storage.schema import LATER_COLUMNS
from storage.shards import NO_SPLIT
from storage.verified import Verified
from storage.verify_input import InputClips, Span, input_findings

OF_CLIP = (
    *("clip_id", "uri", "num_frames", "first_frame", "input_fingerprint"),
    *dict.fromkeys((*LATER_COLUMNS, *ANNOTATIONS)),
)
"""Columns that :meth:`Accounts.add_row` needs."""
_WHOLE: Span = (None, None, None, None)


@dataclass(slots=True)
class _Seen:
    """What is known of a clip after its rows so far."""

    shard: str
    next_frame: int
    uri: str
    span: Span
    fingerprint: str


def _seen(shard: str, row: Mapping[str, Any], planned: Clip | None) -> _Seen:
    """Of a million clips each text counts: those that the plan holds already are taken from there."""
    uri, fingerprint = str(row["uri"]), row["input_fingerprint"] or ""
    if planned is not None:
        uri = planned.uri if uri == planned.uri else uri
        fingerprint = planned.fingerprint if fingerprint == planned.fingerprint else fingerprint
    span = (row["start_frame"], row["end_frame"], row["start_ms"], row["end_ms"])
    return _Seen(shard, 0, uri, _WHOLE if span == _WHOLE else span, fingerprint)


class Accounts:
    """Keeps account of clips while shards are read; what is wrong goes into the result.

    Args:
        plan: What was planned; empty where the plan cannot be read.
        result: Where problems and counts go.
    """

    def __init__(self, plan: Plan, result: Verified) -> None:
        self._planned = {
            clip.clip_id: (shard, clip) for clip, shard in zip(plan.clips, plan.shards, strict=True)
        }
        self._result, self._found = result, result.found
        self._seen: dict[str, _Seen] = {}
        self._failed: set[str] = set()
        result.planned = len(self._planned)

    def add_failed(self, name: str, shard: int, clip_ids: Sequence[str]) -> None:
        """Takes in the clips that failed in a shard, by its own account.

        Args:
            name: Of the shard's file.
            shard: Its number.
            clip_ids: Of the clips.
        """
        for clip_id in clip_ids:
            planned = self._planned[clip_id][0] if clip_id in self._planned else None
            if planned == shard:
                self._failed.add(clip_id)
            elif planned is None and self._planned:
                self._found("unplanned", clip_id, f"failed in {name}, but the plan has no such clip")

    def add_row(self, name: str, split: str, shard: int, of_clip: Mapping[str, Any]) -> None:
        """Takes in a row.

        Args:
            name: Of the shard's file.
            split: Of its folder.
            shard: Its number.
            of_clip: The row's values in :data:`OF_CLIP`.
        """
        clip_id = str(of_clip["clip_id"])
        seen = self._seen.get(clip_id)
        if of_clip["first_frame"] == 0 and seen is not None:
            self._found("duplicate", clip_id, f"stands in {seen.shard} and again in {name}")
            return
        if seen is None:
            planned = self._planned[clip_id][1] if clip_id in self._planned else None
            seen = _seen(name, of_clip, planned)
            self._seen[clip_id if planned is None else planned.clip_id] = seen
            self._check_place(clip_id, name, split, shard)
            self._check_plan(clip_id, of_clip)
        if seen.shard != name:
            self._found("duplicate", clip_id, f"has rows in {seen.shard} and in {name}")
        if of_clip["first_frame"] != seen.next_frame:
            self._found(
                "length",
                clip_id,
                f"a row begins at frame {of_clip['first_frame']}, expected {seen.next_frame} ({name})",
            )
        seen.next_frame = (of_clip["first_frame"] or 0) + (of_clip["num_frames"] or 0)

    def _check_place(self, clip_id: str, name: str, split: str, shard: int) -> None:
        if not self._planned:
            return
        if clip_id not in self._planned:
            self._found("unplanned", clip_id, f"stands in {name}, but the plan has no such clip")
            return
        planned, clip = self._planned[clip_id]
        if planned != shard:
            self._found("unplanned", clip_id, f"stands in {name}, but was planned for shard {planned}")
        if (clip.split or NO_SPLIT) != split:
            self._found("split", clip_id, f"stands in {name}, but its split is {clip.split or NO_SPLIT}")

    def _check_plan(self, clip_id: str, row: Mapping[str, Any]) -> None:
        if clip_id not in self._planned:
            return
        _, clip = self._planned[clip_id]
        columns = ["uri", *RANGE, *ANNOTATIONS]
        if clip.fingerprint and row["input_fingerprint"]:
            columns.append("input_fingerprint")
        for column in columns:
            planned = getattr(clip, "fingerprint" if column == "input_fingerprint" else column)
            if row[column] != planned:
                self._found("plan", clip_id, f"{column} is {row[column]!r}, it was planned with {planned!r}")

    def close(self, standing: set[int], unread: set[int]) -> None:
        """Every planned clip is done, failed, or waits in a shard that does not stand.

        Args:
            standing: Numbers of the shards that stand.
            unread: Of these, numbers of shards that could not be read to their end.
        """
        to_do: Counter[int] = Counter()
        for clip_id, (shard, clip) in self._planned.items():
            seen, failed = self._seen.get(clip_id), clip_id in self._failed
            if seen is not None and failed:
                self._found("duplicate", clip_id, "is done, and has failed as well")
            elif seen is not None:
                is_exact = clip.kind == "frames" and clip.num_frames and not clip.is_part
                if is_exact and seen.next_frame != clip.num_frames:
                    self._found(
                        "length", clip_id, f"{seen.next_frame} frames, it was planned with {clip.num_frames}"
                    )
            elif shard not in standing:
                to_do[shard] += 1
            elif not failed and shard not in unread:
                self._found("lost", clip_id, f"neither done nor failed, although shard {shard} stands")
        self._result.done, self._result.failed = len(self._seen), len(self._failed)
        self._result.to_do = to_do.total()
        for shard, count in sorted(to_do.items()):
            self._found("to-do", f"shard {shard}", f"does not stand yet: {count} clips wait in it")

    def expect_its_input(self, inputs: InputClips) -> None:
        """Makes sure that some clip is in the input: comparing nothing is never success.

        Raises:
            JobError: If none is.
        """
        clips = [clip for _, clip in self._planned.values()]
        if clips and not any(inputs.find(clip.clip_id, clip.uri, clip.span) for clip in clips):
            other = next(iter(inputs)).clip_id if len(inputs) else "none"
            raise JobError(
                f"{inputs.now}: none of the {len(clips):,} clips of {self._result.location}, such as "
                f"{clips[0].clip_id!r}, is among the {len(inputs):,} there, such as {other!r}: give the "
                f"input that the data set was made from{inputs.hint}"
            )

    def compare_inputs(self, inputs: InputClips) -> None:
        """Compares every clip that is done with its input."""
        self._result.inputs = 0
        known = set()
        for clip_id, seen in self._seen.items():
            now = inputs.find(clip_id, seen.uri, seen.span)
            if now is not None:
                self._result.inputs += 1
                known.add(now.clip_id)
            hint = "" if now is not None else inputs.hint
            for kind, text in input_findings(now, seen.next_frame, seen.fingerprint, seen.span):
                self._found(kind, clip_id, f"{text}{hint}")
        for clip_id, (_, clip) in self._planned.items():
            if clip_id not in self._seen and (now := inputs.find(clip_id, clip.uri, clip.span)):
                known.add(now.clip_id)
        self._result.new_inputs = len(inputs) - len(known)
