"""What became of each clip of a chaos run, held against what was planted and against an undisturbed run."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from chaos_clips import POISON, Planted

from extraction.landmarks import ClipLandmarks
from storage.dataset import Dataset
from storage.files import is_temporary
from storage.rows import decode


@dataclass(slots=True)
class Verdict:
    """What was found; whatever stands in ``faults`` must not be.

    Attributes:
        planned: Clips in the plan.
        extracted: Clips in the data set.
        interrupted: Of these, those that lost a detector on the way and were done again.
        equal: Of these, those whose arrays are an undisturbed run's, bit for bit.
        reasons: Failed clips by reason.
        faults: Kind of fault to the clips or files with it.
    """

    planned: int = 0
    extracted: int = 0
    interrupted: int = 0
    equal: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether nothing was found that must not be."""
        return not any(self.faults.values())


def judge(planted: Planted, out: Path, reference: Path, temporary: Path) -> Verdict:
    """Looks at every clip.

    Args:
        planted: What was to be extracted.
        out: The data set of the disturbed runs.
        reference: That of the undisturbed run over ``planted.reference``.
        temporary: The folder for temporary files that all processes of the disturbed runs were given.
    """
    dataset = Dataset.open(str(out))
    plan = dataset.plan()
    rows = _rows(dataset)
    reasons = dict(
        zip(*(dataset.failures(plan)[name].to_pylist() for name in ("clip_id", "reason")), strict=True)
    )
    expected = {
        (clip_id.removesuffix("-edited"), row[0]): row[1]
        for clip_id, found in _rows(Dataset.open(str(reference))).items()
        for row in found
    }
    everything = {*planted.healthy, *planted.poison}
    times = Counter({clip_id: len(found) for clip_id, found in rows.items()}) + Counter(reasons.keys())
    verdict = Verdict(
        planned=len(plan.clips),
        extracted=len(rows),
        interrupted=sum(found[0][2] > 1 for found in rows.values()),
        reasons=Counter(reasons.values()),
    )
    different = []
    for clip_id, found in rows.items():
        if all(expected.get((clip_id, fingerprint)) == content for fingerprint, content, _ in found):
            verdict.equal += 1
        else:
            different.append(clip_id)
    may_be_done = {c for c, kind in planted.poison.items() if kind == "vanished"}
    verdict.faults = {
        "missing": sorted(everything - times.keys()),
        "twice": sorted(clip_id for clip_id, count in times.items() if count > 1),
        "in nobody's input": sorted(times.keys() - everything),
        "planned twice": [c for c, n in Counter(clip.clip_id for clip in plan.clips).items() if n > 1],
        "arrays that differ": different,
        "healthy, but failed": sorted(f"{c}: {reasons[c]}" for c in set(planted.healthy) & reasons.keys()),
        "poison, but extracted": sorted((planted.poison.keys() & rows.keys()) - may_be_done),
        "failed for another reason": sorted(
            f"{c}: {reasons[c]}"
            for c, kind in planted.poison.items()
            if c in reasons and reasons[c] not in POISON[kind]
        ),
        "temporary files": _left(out, temporary),
    }
    return verdict


Row = tuple[str, str, int]
"""Fingerprint of a clip's input, digest of what was found in it, attempts."""


def _rows(dataset: Dataset) -> dict[str, list[Row]]:
    """Clip id to its rows, each once for every place where it stands."""
    found: dict[str, list[Row]] = {}
    for name in sorted(dataset.done().values()):
        table = pq.read_table(dataset.store.open(name))
        columns = zip(
            *(table[name].to_pylist() for name in ("clip_id", "input_fingerprint", "attempts")), strict=True
        )
        for index, (clip_id, fingerprint, attempts) in enumerate(columns):
            found.setdefault(clip_id, []).append((fingerprint, _digest(decode(table, index)), attempts))
    return found


def _digest(landmarks: ClipLandmarks) -> str:
    """Digest of everything that was found, bit for bit."""
    digest = hashlib.blake2b(digest_size=16)
    texts = (landmarks.first_frame, landmarks.fps, landmarks.frame_names, landmarks.frame_errors)
    digest.update(repr((texts, sorted(landmarks.parts))).encode())
    arrays = [
        landmarks.timestamps_ms,
        landmarks.frame_status,
        landmarks.frame_sizes_px,
        landmarks.pose_visibility,
    ]
    for array in [*arrays, *(landmarks.parts[name] for name in sorted(landmarks.parts))]:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _left(out: Path, temporary: Path) -> list[str]:
    """Files that no job needs any more."""
    files = [os.path.join(place, name) for place, _, names in os.walk(out) for name in names]
    running = [path for path in files if "/_running/" in path or "/_partial/" in path]
    unfinished = [path for path in files if is_temporary(path)]
    others = [os.path.join(place, name) for place, _, names in os.walk(temporary) for name in names]
    return sorted({*running, *unfinished, *others})
