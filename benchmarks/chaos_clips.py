"""The input of a chaos run: hundreds of short clips cut from longer ones, poison among them."""

import os
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from extraction.sources import discover_tree
from ray_jobs.demo_clips import make_demo_clips

SPLITS = ("train", "train", "dev", "test")  # twice as many of the first
_GARBAGE = b"no picture at all " * 40
_TOUCH_S = 0.2

# Kind of poison to the reasons that fit it; see tests/support/poison_engine.py and docs/reliability.md.
POISON = {
    "segv": {"signal"},
    "abort": {"signal"},
    "exit": {"exit"},
    "hang": {"timeout"},
    "hog": {"memory"},
    "raise": {"unknown"},
    "garbage": {"no-readable-frame"},
    "empty": {"no-readable-frame"},
    "links": {"no-readable-frame"},
    "novideo": {"not-a-video"},
    "changing": {"input-changed"},
    "vanished": {"missing"},
}


@dataclass(frozen=True, slots=True)
class Planted:
    """What lies in FRAMES.

    Attributes:
        frames: The folder.
        reference: Another folder: the clips that can be extracted, as they are before any change; of an
            edited clip also what it becomes, under its id and ``-edited``.
        healthy: Ids of the clips that must end in the data set.
        edited: Those of them that get another last frame while the job runs.
        poison: Id of each other clip to its kind.
        num_frames: Of all clips.
    """

    frames: Path
    reference: Path
    healthy: tuple[str, ...]
    edited: tuple[str, ...]
    poison: dict[str, str]
    num_frames: int


def plant(folder: Path, source: str | None, num_clips: int, poison_each: int, seed: int) -> Planted:
    """Cuts clips of 3 to 6 frames and plants poison among them.

    Args:
        folder: Gets the folders ``frames`` and ``reference``.
        source: A folder of clips to cut from; None for a portrait over which a camera moves.
        num_clips: Healthy clips.
        poison_each: Clips of each kind of poison.
        seed: The same seed makes the same clips.
    """
    chance = random.Random(f"clips {seed}")
    cuts = _Cuts(source or _portrait(folder / "portrait"), chance)
    frames, reference = folder / "frames", folder / "reference"
    num_frames = 0
    healthy, edited, poison = [], [], {}
    for number in range(num_clips):
        clip_id = f"{chance.choice(SPLITS)}/{number:04d}"
        files = cuts.write(frames / clip_id)
        if number % 25 == 7:  # a frame that cannot be read keeps its place
            files[1].write_bytes(_GARBAGE)
        healthy.append(clip_id)
        num_frames += len(files)
        _link(frames / clip_id, reference / clip_id)
        if number % 25 == 13:
            edited.append(clip_id)
            after = reference / f"{clip_id}-edited"
            _link(frames / clip_id, after)
            last = after / files[-1].name
            last.unlink()
            shutil.copyfile(cuts.another(), last)
    for kind in POISON:
        for number in range(poison_each):
            clip_id = f"{chance.choice(SPLITS)}/poison-{kind}-{number}"
            poison[clip_id] = kind
            num_frames += _write_poison(frames, clip_id, kind, cuts)
            if kind == "vanished":  # one that was done before it vanished is in the data set, rightly
                _link(frames / clip_id, reference / clip_id)
    return Planted(frames, reference, tuple(healthy), tuple(edited), poison, num_frames)


class ChangingInput:
    """Changes clips while the job runs: rewrites some without end, edits some once, takes some away.

    Args:
        planted: The clips.
        seconds: Over which time the edits are spread.
        seed: The same seed edits at the same moments.
    """

    def __init__(self, planted: Planted, seconds: float, seed: int) -> None:
        chance = random.Random(f"input {seed}")
        self._planted = planted
        self._edits = sorted((chance.uniform(0, seconds), clip_id) for clip_id in planted.edited)
        self._touched = 0.0
        self._began = time.monotonic()
        self.edited = 0

    def tick(self, is_planned: bool) -> None:
        """Does what is due.

        Args:
            is_planned: Whether the job has its plan, so that what vanishes was planned.
        """
        now = time.monotonic()
        poison = self._planted.poison
        if now - self._touched > _TOUCH_S:
            self._touched = now
            for clip_id in (clip_id for clip_id, kind in poison.items() if kind == "changing"):
                os.utime(next((self._planted.frames / clip_id).iterdir()))
        while self._edits and self._edits[0][0] <= now - self._began:
            self._edit(self._edits.pop(0)[1])
        if is_planned:
            for clip_id in (clip_id for clip_id, kind in poison.items() if kind == "vanished"):
                shutil.rmtree(self._planted.frames / clip_id, ignore_errors=True)

    def _edit(self, clip_id: str) -> None:
        before, after = self._planted.frames / clip_id, self._planted.reference / f"{clip_id}-edited"
        name = max(path.name for path in after.iterdir())
        os.link(after / name, before / ".edited")
        os.replace(before / ".edited", before / name)  # from one content to the other at once
        self.edited += 1


class _Cuts:
    def __init__(self, source: Path | str, chance: random.Random) -> None:
        clips = (clip for clip in discover_tree(str(source)).clips if clip.kind == "frames")
        listed = (sorted(Path(clip.path).iterdir()) for clip in clips)
        self._sources = [files for files in listed if len(files) >= 12]
        if not self._sources:
            raise SystemExit(f"{source}: expected folders of 12 frames or more to cut clips from, found none")
        self._chance = chance

    def write(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True)
        files = self._chance.choice(self._sources)
        step, length = self._chance.choice((1, 2)), self._chance.randint(3, 6)
        first = self._chance.randrange(len(files) - step * (length - 1))
        written = []
        for index, file in enumerate(files[first : first + step * length : step]):
            written.append(folder / f"frame{index}{file.suffix}")
            shutil.copyfile(file, written[-1])
        return written

    def another(self) -> Path:
        return self._chance.choice(self._chance.choice(self._sources))


def _portrait(folder: Path) -> Path:
    make_demo_clips(str(folder))
    return folder


def _write_poison(frames: Path, clip_id: str, kind: str, cuts: _Cuts) -> int:
    """Writes one clip of a kind; returns how many frames it has."""
    folder = frames / clip_id
    if kind == "novideo":
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.with_name(f"{folder.name}.mp4").write_bytes(_GARBAGE)
        return 1
    files = cuts.write(folder)
    for file in files:
        if kind == "garbage":
            file.write_bytes(_GARBAGE)
        elif kind == "empty":
            file.write_bytes(b"")
        elif kind == "links":
            file.unlink()
            file.symlink_to("nowhere")
    return len(files)


def _link(folder: Path, to: Path) -> None:
    """The same files once more: what is done to a name of the one does not touch the other."""
    shutil.copytree(folder, to, copy_function=os.link)
