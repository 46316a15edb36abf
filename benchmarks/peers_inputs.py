"""The input of the comparison: clips cut from real ones, as folders of frames and as videos of the same."""

import math
import os
import random
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from extraction.errors import JobError
from extraction.sources import discover_tree
from ray_jobs.demo_clips import make_demo_clips

_SHORTEST = 4
_SPREAD = 0.45
"""Standard deviation of the logarithm of a clip's length: about that of PHOENIX-2014-T's sentences."""
_KINDS = 48
"""Different clips; more are links to these under other names."""
_FPS = 25


@dataclass(frozen=True, slots=True)
class Inputs:
    """Clips of equal content in two forms.

    Attributes:
        frames: Folder with a folder of images for each clip.
        videos: Folder with an H.264 video for each clip.
        lengths: Clip name to its number of frames.
    """

    frames: Path
    videos: Path
    lengths: dict[str, int]

    @property
    def num_frames(self) -> int:
        """Of all clips."""
        return sum(self.lengths.values())

    def folders(self) -> list[Path]:
        """The clips as folders of images, in order."""
        return [self.frames / name for name in self.lengths]


def cut(folder: Path, source: Path | None, num_clips: int, mean_frames: int, seed: int) -> Inputs:
    """Cuts clips and encodes the same frames as videos.

    Args:
        folder: Gets the folders ``kinds``, ``frames`` and ``videos``.
        source: A folder of clips to cut from; None for a portrait over which a camera moves.
        num_clips: Clips.
        mean_frames: Mean length of a clip; they are as unequal as sentences of PHOENIX-2014-T.
        seed: The same seed cuts the same clips.
    """
    if source is None:
        source = folder / "portrait"
        make_demo_clips(str(source))
    try:
        clips = [clip for clip in discover_tree(str(source)).clips if clip.kind == "frames"]
    except JobError as error:
        raise SystemExit(str(error)) from error
    files = [sorted(p for p in Path(clip.path).iterdir() if p.suffix in (".png", ".jpg")) for clip in clips]
    files = [images for images in files if len(images) >= _SHORTEST]
    if not files:
        raise SystemExit(f"{source}: expected folders of PNG or JPEG frames to cut clips from, found none")
    chance = random.Random(f"peers {seed}")
    kinds = []
    for number in range(min(num_clips, _KINDS)):
        kind, length = folder / "kinds" / f"{number:02d}", _length(mean_frames, chance)
        _write_kind(kind, files[number % len(files)], length, chance)
        kinds.append((kind, length))
    inputs = Inputs(folder / "frames", folder / "videos", {})
    inputs.frames.mkdir()
    inputs.videos.mkdir()
    for number in range(num_clips):
        name, (kind, length) = f"clip{number:05d}", kinds[number % len(kinds)]
        (inputs.frames / name).symlink_to(kind)
        os.link(kind.with_suffix(".mp4"), inputs.videos / f"{name}.mp4")
        inputs.lengths[name] = length
    return inputs


def _length(mean_frames: int, chance: random.Random) -> int:
    length = chance.lognormvariate(math.log(mean_frames) - _SPREAD**2 / 2, _SPREAD)
    return max(round(length), _SHORTEST)


def _write_kind(folder: Path, images: list[Path], length: int, chance: random.Random) -> None:
    """Consecutive frames from a random one on; at an end they turn round, so that nothing jumps."""
    folder.mkdir(parents=True)
    around = [*images, *images[-2:0:-1]]
    first = chance.randrange(len(around))
    chosen = [around[(first + i) % len(around)] for i in range(length)]
    for index, image in enumerate(chosen):
        shutil.copyfile(image, folder / f"images{index + 1:05d}{image.suffix}")
    _encode(chosen, folder.with_suffix(".mp4"))


def _encode(images: list[Path], path: Path) -> None:
    import av
    from PIL import Image

    pictures = [Image.open(image).convert("RGB") for image in images]
    width, height = (side // 2 * 2 for side in pictures[0].size)
    with av.open(str(path), "w") as container:
        # As near to the frames as videos come: 4:2:0, and a quantiser at which nobody sees a difference.
        stream = container.add_stream("libx264", rate=_FPS, options={"crf": "12", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture.crop((0, 0, width, height)))
            frame.pts, frame.time_base = index, Fraction(1, _FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
