import os
import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from extraction.clips import Clip, to_uri
from extraction.errors import ClipError
from extraction.frames import Frame, FrameOptions, FrameStream, open_frames

# A variable rate: gaps of 33, 100 and 40 ms.
TIMES_MS = [int(t) for t in np.cumsum([0] + [33, 100, 40] * 12)]
MILLISECOND = Fraction(1, 1000)


def shade(index: int) -> int:
    """Gray value of the left half of a frame; far enough from its neighbours to tell them apart."""
    return 40 + 6 * (index % 30)


def encode(
    path: Path,
    times_ms: list[int],
    codec: str = "libx264",
    b_frames: int = 2,
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    time_base: Fraction = MILLISECOND,
) -> Path:
    width, height = size
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = 9
        stream.bit_rate = 4_000_000
        stream.codec_context.max_b_frames = b_frames
        for index, time_ms in enumerate(times_ms):
            image = np.full((height, width, 3), 128, np.uint8)
            image[:, : width // 2] = shade(index)
            image[: height // 4] = (220, 40, 40)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(Fraction(time_ms, 1000) / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(
    source: Path, target: Path, change: Callable[[int, bytes], bytes] | None = None, **options: str
) -> Path:
    """Copies a video's packets to another container, or spoils them on the way."""
    with av.open(str(source)) as read, av.open(str(target), "w", options=options) as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for index, packet in enumerate(read.demux(video=0)):
            if packet.size:
                data = bytes(packet)
                copy = av.Packet(change(index, data) if change else data)
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                written.mux(copy)
    return target


def stream_of(path: Path, **options: float) -> FrameStream:
    return open_frames(Clip(path.stem, str(path), "video", fps=3.0), FrameOptions(**options))  # type: ignore[arg-type]


def read(path: Path, **options: float) -> list[Frame]:
    return list(stream_of(path, **options).frames)


def times(frames: list[Frame]) -> list[float]:
    return [round(frame.timestamp_ms, 2) for frame in frames]


def assert_shows(frame: Frame, index: int) -> None:
    """The frame is the one that was encoded at this place."""
    assert frame.error is None
    assert frame.image is not None
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    height, width, _ = frame.image.shape
    assert abs(float(frame.image[height // 2 :, : width // 3].mean()) - shade(index)) < 3
    assert np.abs(frame.image[2, 2].astype(int) - (220, 40, 40)).max() < 12


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("start_ms", [0, 500])
def test_variable_rate_times_are_those_of_the_container(
    tmp_path: Path, name: str, b_frames: int, start_ms: int
) -> None:
    frames = read(encode(tmp_path / name, [t + start_ms for t in TIMES_MS], b_frames=b_frames))
    assert times(frames) == TIMES_MS
    assert [f.index for f in frames] == list(range(len(TIMES_MS)))
    assert [f.name for f in frames] == [str(i) for i in range(len(TIMES_MS))]
    for index, frame in enumerate(frames):
        assert_shows(frame, index)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_times_rise_in_spite_of_b_frames(tmp_path: Path, codec: str) -> None:
    path = encode(tmp_path / "a.avi", [i * 40 for i in range(30)], codec=codec, time_base=Fraction(1, 25))
    frames = read(path)
    assert times(frames) == [i * 40 for i in range(30)]
    for index, frame in enumerate(frames):
        assert_shows(frame, index)


def test_rate_count_and_fingerprint(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", [i * 40 for i in range(20)])
    stream = stream_of(path)
    assert stream.fps == pytest.approx(25, rel=0.1)  # and not the clip's 3
    assert stream.num_frames == 20
    assert len(stream.fingerprint) == 32
    os.utime(path, ns=(1, 1))
    assert stream_of(path).fingerprint != stream.fingerprint


@pytest.mark.parametrize("name", ["wave_pose_testvideo.mp4", "gabguerin_a1.mp4", "ntu_sample.avi"])
def test_real_videos_show_what_cv2_shows(shared_clips: Path, name: str) -> None:
    path = shared_clips / "videos" / name
    capture = cv2.VideoCapture(str(path))
    stream = stream_of(path)
    num_frames = 0
    for frame in stream.frames:
        found, bgr = capture.read()
        assert found
        assert frame.image is not None
        # cv2 takes every video for BT.601; gabguerin_a1 says that it is BT.709.
        assert np.abs(frame.image[::8, ::8].astype(int) - bgr[::8, ::8, ::-1]).mean() < 6
        num_frames += 1
    assert not capture.read()[0]
    assert stream.num_frames == num_frames


@pytest.mark.parametrize(("degrees", "quarter_turns"), [(90, -1), (180, 2), (270, 1)])
def test_rotation_is_applied(tmp_path: Path, degrees: int, quarter_turns: int) -> None:
    path = encode(tmp_path / "a.mp4", [0, 40, 80])
    upright = [frame.image for frame in read(path)]
    one = 1 << 16
    matrix = {
        90: (0, one, 0, -one, 0, 0, 0, 0, 1 << 30),
        180: (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30),
        270: (0, -one, 0, one, 0, 0, 0, 0, 1 << 30),
    }[degrees]
    data = bytearray(path.read_bytes())
    # ISO 14496-12, 8.3.2: the matrix is 40 bytes behind the version of a tkhd box of version 0.
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, *matrix)
    path.write_bytes(data)
    for before, frame in zip(upright, read(path), strict=True):
        assert frame.image is not None
        assert frame.image.flags.c_contiguous
        assert before is not None
        np.testing.assert_array_equal(frame.image, np.rot90(before, quarter_turns))
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    first = read(path)[0].image
    assert first is not None
    assert np.abs(capture.read()[1][..., ::-1].astype(int) - first).mean() < 2


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("spoilt", [{5}, {5, 6, 7}, {30}])
def test_damaged_packets_keep_their_places(tmp_path: Path, name: str, spoilt: set[int]) -> None:
    constant = [i * 40 for i in range(36)]
    source = encode(tmp_path / f"whole_{name}", constant, b_frames=0, time_base=Fraction(1, 25))
    path = remux(source, tmp_path / name, lambda index, data: b"\0" * len(data) if index in spoilt else data)
    frames = read(path)
    assert times(frames) == constant
    assert {f.index for f in frames if f.error} == spoilt
    assert all(f.error is not None and f.error.startswith("video damaged") for f in frames if f.image is None)
    # From the next key frame on everything is as before.
    for index in range(18 if max(spoilt) < 9 else 0, 36 if max(spoilt) < 9 else 27):
        assert_shows(frames[index], index)


def test_damage_among_b_frames_does_not_move_the_others(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.mp4", TIMES_MS, options={"bf": "2", "b-adapt": "0"})
    for spoilt in range(1, 12):
        path = remux(
            source,
            tmp_path / "a.mp4",
            lambda index, data, at=spoilt: b"\0" * len(data) if index == at else data,
        )
        frames = read(path)
        assert times(frames) == TIMES_MS
        assert 1 <= sum(f.error is not None for f in frames) <= 9
        for index in range(20, len(TIMES_MS)):
            assert_shows(frames[index], index)


def test_a_video_whose_first_picture_is_lost_is_all_there(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.mp4", TIMES_MS)
    path = remux(
        source, tmp_path / "a.mp4", lambda index, data: os.urandom(len(data)) if index == 0 else data
    )
    frames = read(path)
    assert times(frames) == TIMES_MS
    assert frames[0].image is None
    assert_shows(frames[-1], len(frames) - 1)


def test_cut_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    constant = [i * 40 for i in range(36)]
    path = encode(tmp_path / "a.mp4", constant, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    frames = read(path)
    assert times(frames) == constant
    num_read = sum(f.error is None for f in frames)
    assert 3 < num_read < 33
    for index in range(num_read - 4):
        assert_shows(frames[index], index)
    assert frames[-1].error == "video damaged: the file ends before this picture"


def test_cut_mkv_ends_where_it_is_cut(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", TIMES_MS, b_frames=0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    frames = read(path)
    assert 3 < len(frames) < len(TIMES_MS)
    assert times(frames) == TIMES_MS[: len(frames)]


def test_hidden_vp8_packets_are_no_pictures(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.webm", TIMES_MS, codec="libvpx", b_frames=0)

    def hide_every_fifth(index: int, data: bytes) -> bytes:
        return bytes([data[0] & ~0x10]) + data[1:] if index % 5 == 4 else data

    frames = read(remux(source, tmp_path / "a.webm", hide_every_fifth))
    assert times(frames) == [t for i, t in enumerate(TIMES_MS) if i % 5 != 4]
    assert all(f.error is None for f in frames)


def test_size_limit(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", TIMES_MS, size=(96, 64))
    assert all(f.error is None for f in read(path, max_pixels=96 * 64))
    frames = read(path, max_pixels=96 * 64 - 1)
    assert times(frames) == TIMES_MS
    assert {f.error for f in frames} == {"too large: 96x64 px is above --max-pixels 6143"}


def test_a_long_video_is_held_one_frame_at_a_time(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", [i * 40 for i in range(150)], size=(640, 480))
    frame_bytes = 640 * 480 * 3
    tracemalloc.start()
    num_frames = sum(1 for _ in stream_of(path).frames)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_frames == 150
    assert peak_bytes < 8 * frame_bytes


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence: NDArray[np.float32] = np.zeros((1, 1024), np.float32)
        for index in range(8):
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, index * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _playlist(path: Path) -> None:
    other = encode(path.with_name("other.mp4"), [0, 40, 80])
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other.as_uri()}\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "missing"),
        (lambda path: path.mkdir(), "not-a-video"),
        (lambda path: os.mkfifo(path), "not-a-video"),
        (lambda path: path.write_bytes(b""), "not-a-video"),
        (lambda path: path.write_text("<html>404</html>" * 100), "not-a-video"),
        (lambda path: path.write_bytes(os.urandom(5000)), "not-a-video"),
        (lambda path: path.write_bytes(cv2.imencode(".png", np.zeros((9, 9)))[1].tobytes()), "not-a-video"),
        (_playlist, "not-a-video"),
        (_audio_only, "no-video-stream"),
    ],
    ids=["missing", "folder", "pipe", "empty", "html", "random", "image", "playlist", "audio"],
)
def test_what_is_no_video(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    make(tmp_path / "a.mp4")
    with pytest.raises(ClipError) as caught:
        stream_of(tmp_path / "a.mp4")
    assert (caught.value.stage, caught.value.reason) == ("open", reason)
    assert "a.mp4" in str(caught.value)


def test_mutated_videos_raise_only_clip_errors(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for name in ("a.mp4", "a.mkv", "a.avi"):
        data = np.frombuffer(
            encode(tmp_path / name, [i * 40 for i in range(12)], time_base=Fraction(1, 25)).read_bytes(),
            np.uint8,
        )
        for _ in range(25):
            spoilt = data.copy()
            places = random.integers(0, len(data), random.integers(1, 30))
            spoilt[places] = random.integers(0, 256, len(places))
            (tmp_path / f"x{name}").write_bytes(spoilt.tobytes()[: random.integers(1, len(data) + 1)])
            try:
                frames = read(tmp_path / f"x{name}")
            except ClipError as error:
                assert error.stage == "open"  # noqa: PT017
            else:
                assert all((f.image is None) != (f.error is None) for f in frames)


def test_a_path_that_is_not_unicode_is_opened(tmp_path: Path) -> None:
    target = os.path.join(os.fsencode(tmp_path), b"a\xff.mp4")
    os.rename(encode(tmp_path / "a.mp4", [0, 40]), target)
    clip = Clip("a", to_uri(os.fsdecode(target)), "video")
    assert len(list(open_frames(clip, FrameOptions()).frames)) == 2
