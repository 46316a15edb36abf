"""Two short clips to try the whole way with, made from a portrait that is already installed."""

import io
import math
import os
from collections.abc import Callable
from importlib.util import find_spec

from PIL import Image

from extraction.errors import JobError

# Rear Admiral Grace Hopper, 512x600 px, a public-domain photograph by the United States Navy; see
# mpl-data/sample_data in https://github.com/matplotlib/matplotlib. Legacy mediapipe requires matplotlib.
PORTRAIT = "mpl-data/sample_data/grace_hopper.jpg"

# Few enough pixels to be quick, many enough for every face and shoulder to be found.
FRAME_WIDTH_PX, FRAME_HEIGHT_PX = 360, 432

# Left, top, right, bottom in the portrait's pixels. Sub-pixel, so that a slow camera does not jerk.
Box = tuple[float, float, float, float]


def make_demo_clips(folder: str, num_frames: int = 60) -> list[str]:
    """Writes two clips of JPEG frames, 360x432 px, in which a camera moves over a portrait.

    The same call always gives the same bytes, and a file that already holds them is left as it is:
    repeating the call changes nothing.

    Args:
        folder: Where the clips go; made where it is missing.
        num_frames: Frames in each clip, 1 or more.

    Returns:
        The clips' folders: ``train/zoom`` and ``dev/pan`` below ``folder``.

    Raises:
        JobError: If the portrait is not installed, the number is out of range, or a clip's folder
            holds files that are not this clip's.
        OSError: If the folder cannot be written.
    """
    if num_frames < 1:
        raise JobError(f"a demo clip needs 1 frame or more, found num_frames={num_frames}")
    portrait = _open_portrait()
    cameras: dict[str, Callable[[float], Box]] = {"train/zoom": _zoom, "dev/pan": _pan}
    clips = []
    for name, camera in cameras.items():
        clip = os.path.join(folder, name)
        _write_clip(clip, portrait, [camera(_ease(position, num_frames)) for position in range(num_frames)])
        clips.append(clip)
    return clips


def _open_portrait() -> Image.Image:
    """The portrait, RGB; found without importing matplotlib, which would take a while."""
    spec = find_spec("matplotlib")
    path = os.path.join(os.path.dirname(spec.origin), PORTRAIT) if spec and spec.origin else None
    if path is None or not os.path.isfile(path):
        raise JobError(
            f"the demo needs the sample picture that comes with matplotlib, "
            f"expected {path or 'the package matplotlib'}: run 'pip install matplotlib'"
        )
    with Image.open(path) as image:
        return image.convert("RGB")


def _ease(position: int, num_frames: int) -> float:
    """How far the camera has come, 0 to 1: it starts and stops gently, as a held one does."""
    return (1 - math.cos(math.pi * position / max(1, num_frames - 1))) / 2


def _zoom(progress: float) -> Box:
    """From the whole portrait towards the face, 1.0 to 1.3 times."""
    return _view(256, 300 - 50 * progress, 500 / (1 + 0.3 * progress))


def _pan(progress: float) -> Box:
    """From the lower left to the upper right, the face always in the picture."""
    return _view(230 + 50 * progress, 315 - 50 * progress, 420)


def _view(centre_x: float, centre_y: float, width: float) -> Box:
    """The box around a centre that has the frames' proportions; portrait pixels."""
    height = width * FRAME_HEIGHT_PX / FRAME_WIDTH_PX
    return centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2


def _write_clip(clip: str, portrait: Image.Image, boxes: list[Box]) -> None:
    names = [f"frame_{position:04d}.jpg" for position in range(len(boxes))]
    os.makedirs(clip, exist_ok=True)
    strangers = sorted(set(os.listdir(clip)) - set(names))
    if strangers:
        raise JobError(
            f"{clip}: expected an empty folder or this demo's {len(names)} frames, "
            f"found {len(strangers)} other files such as {strangers[0]!r}: choose another folder"
        )
    for name, box in zip(names, boxes, strict=True):
        view = portrait.resize((FRAME_WIDTH_PX, FRAME_HEIGHT_PX), Image.Resampling.BICUBIC, box)
        _write_if_new(os.path.join(clip, name), _jpeg(view))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _write_if_new(path: str, data: bytes) -> None:
    """Keeps a file that is already right: a changed time would make the clip look like another one."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            if file.read() == data:
                return
    with open(path, "wb") as file:
        file.write(data)
