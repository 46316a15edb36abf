import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import extraction.drawn_video as drawn_video
from extraction.drawn_video import FORMATS, h264_encoder, write_video
from extraction.errors import JobError

COUNT, HEIGHT, WIDTH = 12, 31, 45


def pictures(count: int = COUNT) -> Iterator[np.ndarray]:
    """A bright square that wanders from left to right over grey."""
    for index in range(count):
        picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        picture[10:20, 2 + 3 * index : 10 + 3 * index] = (250, 140, 20)
        yield picture


def read(path: Path) -> tuple[list[np.ndarray], float]:
    """The frames of a video, and how many seconds it takes."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            return frames, container.duration / 1e6
    frames, total_ms = [], 0
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
            total_ms += image.info["duration"]
    return frames, total_ms / 1000


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fps", [25.0, 29.97])
def test_a_video_holds_every_picture_for_as_long_as_it_should(kind, fps, tmp_path):
    path = tmp_path / "deep" / f"clip.{kind}"
    assert write_video(str(path), pictures(), fps) == COUNT
    frames, seconds = read(path)
    assert len(frames) == COUNT
    assert seconds == pytest.approx(COUNT / fps, abs=0.02)
    for frame, original in zip(frames, pictures(), strict=True):
        assert np.abs(frame[:HEIGHT, :WIDTH].astype(int) - original).mean() < 6
        assert frame.shape[0] - HEIGHT in (0, 1)
    assert os.listdir(path.parent) == [path.name]


def test_mp4_is_what_every_player_shows(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(str(path), pictures(), 25.0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (WIDTH + 1, HEIGHT + 1)
        assert stream.average_rate == 25


def test_without_an_h264_encoder_it_says_what_else_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr(drawn_video, "_H264_ENCODERS", ("lib-of-no-build",))
    with pytest.raises(JobError, match=r"no H\.264 encoder .*--video gif"):
        h264_encoder()
    with pytest.raises(JobError, match=r"no H\.264 encoder"):
        write_video(str(tmp_path / "clip.mp4"), pictures(), 25.0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_too_much_for_memory_is_refused_in_time(kind, monkeypatch, tmp_path):
    monkeypatch.setattr(drawn_video, "MAX_ANIMATION_PIXELS", HEIGHT * WIDTH * 5)
    with pytest.raises(
        JobError, match=rf"frame 6 .*{kind.upper()} of {WIDTH}x{HEIGHT} px.*--video mp4.*--every"
    ):
        write_video(str(tmp_path / f"clip.{kind}"), pictures(), 25.0)
    assert os.listdir(tmp_path) == []


def test_a_picture_of_another_size_is_refused_and_nothing_stays(tmp_path):
    uneven = iter([np.zeros((10, 10, 3), np.uint8), np.zeros((10, 12, 3), np.uint8)])
    with pytest.raises(ValueError, match=r"found \(10, 12, 3\)"):
        write_video(str(tmp_path / "clip.mp4"), uneven, 25.0)
    assert os.listdir(tmp_path) == []


def test_wrong_use(tmp_path):
    with pytest.raises(JobError, match="found 'avi'"):
        write_video(str(tmp_path / "clip.avi"), pictures(), 25.0)
    with pytest.raises(JobError, match="no frame to draw"):
        write_video(str(tmp_path / "clip.mp4"), iter([]), 25.0)
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="cannot be written"):
        write_video(str(tmp_path / "file" / "clip.mp4"), pictures(), 25.0)


def test_pictures_are_taken_one_at_a_time(tmp_path):
    """An MP4 of any length needs the memory of a few pictures."""
    alive: list[int] = []

    class Watched(np.ndarray):
        def __del__(self) -> None:
            alive[0] -= 1

    alive.append(0)
    most = 0

    def watched() -> Iterator[np.ndarray]:
        nonlocal most
        for picture in pictures(10):
            for _ in range(10):
                alive[0] += 1
                most = max(most, alive[0])
                # A base array has no owner but this view: as long as it lives, the picture is in memory.
                yield picture.copy().view(Watched)

    write_video(str(tmp_path / "clip.mp4"), watched(), 25.0)
    assert most <= 5
