"""A clip that is a part of its input: the same frames, times and bits as of one that was cut."""

import itertools
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from extraction.clips import Clip
from extraction.errors import ClipError, JobError
from extraction.frames import Frame, FrameOptions, current_fingerprint, open_frames
from extraction.owed_pictures import OwedPictures
from extraction.sources import clips_from_rows, read_csv_manifest

OPTIONS = FrameOptions()
CODECS = {
    "h264": ("libx264", "mp4", {"bf": "3", "g": "12", "crf": "23"}),
    "open-gop": ("libx264", "mp4", {"x264-params": "open-gop=1:keyint=10:bframes=3:scenecut=0"}),
    "matroska": ("libx264", "mkv", {"bf": "2", "g": "9"}),
    "hevc": ("libx265", "mp4", {"x265-params": "keyint=10:bframes=3:log-level=none"}),
    "vp9": ("libvpx-vp9", "webm", {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "12"}),
    "vp8": ("libvpx", "webm", {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "mpeg4-avi": ("mpeg4", "avi", {"bf": "2", "g": "8"}),
    "one-key-picture": ("libx264", "mp4", {"g": "999", "bf": "3"}),
}


def encode(
    path: Path, pictures: Sequence[np.ndarray], codec: str, options: dict[str, str], times_ms=None
) -> Path:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if times_ms:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for position, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times_ms:
                frame.pts, frame.time_base = times_ms[position], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def pictures(phoenix_root: Path) -> list[np.ndarray]:
    """60 real frames, of even size."""
    clip = Clip("wave", str(phoenix_root / "train/wave"), "frames")
    frames = [frame.image for frame in open_frames(clip, OPTIONS).frames]
    return [np.ascontiguousarray(image[:256, :208]) for image in (*frames, *frames[:2])]


def whole(path: Path) -> list[Frame]:
    return list(open_frames(Clip("v", str(path), "video"), OPTIONS).frames)


def assert_is_cut(path: Path, all_frames: list[Frame], **span: float | None) -> list[Frame]:
    """The range's frames are those of the whole, counted anew."""
    clip = Clip("v", str(path), "video", **span)
    stream = open_frames(clip, OPTIONS)
    found = list(stream.frames)
    wanted = [f for f in all_frames if clip.holds(f.index, f.timestamp_ms)]
    assert wanted
    assert len(found) == len(wanted)
    for position, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert (a.index, a.name, a.error) == (position, str(position), b.error)
        assert a.timestamp_ms == pytest.approx(b.timestamp_ms - wanted[0].timestamp_ms, abs=1e-6)
        assert np.array_equal(a.image, b.image)
    assert stream.num_frames == len(wanted)
    return found


@pytest.mark.parametrize("kind", CODECS)
def test_every_range_of_every_codec(tmp_path, pictures, kind):
    codec, extension, options = CODECS[kind]
    path = encode(tmp_path / f"v.{extension}", pictures, codec, options)
    frames = whole(path)
    assert len(frames) == len(pictures)
    for start, end in [
        (0, 1),
        (0, 60),
        (1, 2),
        (7, 31),
        (10, 12),
        (29, 30),
        (40, None),
        (59, None),
        (59, 60),
    ]:
        assert_is_cut(path, frames, start_frame=start, end_frame=end)
    for start_ms, end_ms in [(None, 200.0), (0.0, 40.0), (39.9, 1200.1), (40.0, 80.0), (1000.0, None)]:
        assert_is_cut(path, frames, start_ms=start_ms, end_ms=end_ms)


@pytest.mark.parametrize("kind", ["h264", "open-gop", "matroska", "vp9", "vp8"])
def test_what_can_be_sought_is_not_read_from_its_beginning(tmp_path, pictures, kind, monkeypatch):
    codec, extension, options = CODECS[kind]
    path = encode(tmp_path / f"v.{extension}", pictures, codec, options)
    times: list[int] = []
    settle = OwedPictures.settle

    def counted(owed, frame):
        times.append(frame.pts)
        return settle(owed, frame)

    monkeypatch.setattr(OwedPictures, "settle", counted)
    clip = Clip("v", str(path), "video", start_frame=45, end_frame=50)
    assert len(list(open_frames(clip, OPTIONS).frames)) == 5
    assert len(times) < 30


def test_times_that_are_not_even(tmp_path, pictures):
    times = list(itertools.accumulate([0, 33, 100, 40, 827, 40, 5, 1, 300, 40], initial=500))[1:]
    path = encode(tmp_path / "v.mp4", pictures[:10], "libx264", {"g": "4", "bf": "2"}, times)
    frames = whole(path)
    assert [f.timestamp_ms for f in frames] == pytest.approx([t - 500 for t in times])
    for edges in itertools.combinations([0.0, 33.0, 33.5, 133.0, 999.0, 1000.0, 1046.0], 2):
        if any(
            Clip("v", "v", "video", start_ms=edges[0], end_ms=edges[1]).holds(0, f.timestamp_ms)
            for f in frames
        ):
            clip = Clip("v", str(path), "video", start_ms=edges[0], end_ms=edges[1])
            found = list(open_frames(clip, OPTIONS).frames)
            wanted = [f for f in frames if edges[0] <= f.timestamp_ms < edges[1]]
            assert [np.array_equal(a.image, b.image) for a, b in zip(found, wanted, strict=True)] == [
                True
            ] * len(wanted)


def test_real_videos(shared_clips):
    for name in ("gabguerin_a1.mp4", "ntu_sample.avi", "hand_landmarker_test_video.mp4"):
        frames = whole(shared_clips / "videos" / name)
        last = len(frames)
        for start, end in [(0, 5), (13, 31), (last - 3, last), (last - 1, None)]:
            assert_is_cut(shared_clips / "videos" / name, frames, start_frame=start, end_frame=end)


def test_damage_is_told_at_the_same_frames(tmp_path, pictures):
    path = encode(tmp_path / "v.mp4", pictures, "libx264", {"g": "12", "bf": "2"})
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 8
    for offset in range(middle + (len(data) - middle) // 3, middle + (len(data) - middle) // 3 + 3000):
        data[offset] ^= 0x5A
    path.write_bytes(data)
    frames = whole(path)
    assert any(f.error for f in frames)
    for start, end in [(0, 20), (5, 30), (12, 40), (50, 60)]:
        clip = Clip("v", str(path), "video", start_frame=start, end_frame=end)
        found = list(open_frames(clip, OPTIONS).frames)
        assert [f.error is None for f in found] == [f.error is None for f in frames[start:end]]


def test_a_cut_off_file_keeps_its_missing_frames(tmp_path, pictures):
    path = encode(tmp_path / "v.mp4", pictures, "libx264", {"g": "12", "movflags": "faststart"})
    with av.open(str(path)) as container:
        entries = container.streams.video[0].index_entries
        cut = entries[40].pos + 1
    moov_first = path.read_bytes().find(b"moov") < path.read_bytes().find(b"mdat")
    if not moov_first:
        remuxed = tmp_path / "w.mp4"
        with av.open(str(path)) as a, av.open(str(remuxed), "w", options={"movflags": "faststart"}) as b:
            out = b.add_stream_from_template(a.streams.video[0])
            for packet in a.demux(video=0):
                if packet.dts is not None:
                    packet.stream = out
                    b.mux(packet)
        path = remuxed
        with av.open(str(path)) as container:
            cut = container.streams.video[0].index_entries[40].pos + 1
    path.write_bytes(path.read_bytes()[:cut])
    frames = whole(path)
    assert len(frames) == 60
    assert sum(f.error is not None for f in frames) >= 20
    for start, end in [(0, 10), (30, 60), (55, None)]:
        clip = Clip("v", str(path), "video", start_frame=start, end_frame=end)
        found = list(open_frames(clip, OPTIONS).frames)
        assert [f.error for f in found] == [f.error for f in frames[start:end]]


def test_a_folder_of_frames(phoenix_root):
    path = str(phoenix_root / "dev/french_a1")
    frames = list(open_frames(Clip("f", path, "frames"), OPTIONS).frames)
    for span in ({"start_frame": 3, "end_frame": 9}, {"start_ms": 120.0, "end_ms": 360.0}):
        clip = Clip("f", path, "frames", **span)
        stream = open_frames(clip, OPTIONS)
        found = list(stream.frames)
        assert [f.name for f in found] == [f.name for f in frames[3:9]]
        assert [f.timestamp_ms for f in found] == [0.0, 40.0, 80.0, 120.0, 160.0, 200.0]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(found, frames[3:9], strict=True))
        assert (stream.num_frames, stream.fingerprint) == (6, current_fingerprint(clip))


def test_each_range_has_a_fingerprint_of_its_own(shared_clips):
    path = str(shared_clips / "videos/gabguerin_a1.mp4")
    spans = [
        {}, {"start_frame": 0}, {"start_frame": 5}, {"start_frame": 5, "end_frame": 9},
        {"start_ms": 5.0}, {"end_ms": 5.0}, {"end_frame": 5},
    ]  # fmt: skip
    prints = [current_fingerprint(Clip("v", path, "video", **span)) for span in spans]
    assert len(set(prints)) == len(prints)
    assert prints[0] == open_frames(Clip("v", path, "video"), OPTIONS).fingerprint
    assert prints[3] == open_frames(Clip("v", path, "video", **spans[3]), OPTIONS).fingerprint
    assert current_fingerprint(Clip("v", path + ".gone", "video", start_frame=3)) == ""


@pytest.mark.parametrize(
    "span", [{"start_frame": 62}, {"start_ms": 9e9}, {"start_ms": 2480.0, "end_ms": 2481.0}]
)
def test_a_range_in_which_nothing_lies(shared_clips, span):
    clip = Clip("v", str(shared_clips / "videos/gabguerin_a1.mp4"), "video", **span)
    with pytest.raises(
        ClipError, match=r"expected the (frames|ms) .* of it, found no picture there"
    ) as caught:
        open_frames(clip, OPTIONS)
    assert caught.value.reason == "no-frames"


def test_a_folder_in_whose_range_nothing_lies(phoenix_root):
    clip = Clip("f", str(phoenix_root / "dev/french_a1"), "frames", start_frame=62)
    with pytest.raises(ClipError, match="expected the frames 62 to its end of it, found 62 frames"):
        open_frames(clip, OPTIONS)


def test_ranges_that_cannot_be_meant():
    nan, inf = float("nan"), float("inf")
    for span in ({"start_frame": -1}, {"start_frame": 3, "end_frame": 3}, {"end_frame": 0}, {"end_ms": nan},
                 {"start_ms": inf}, {"start_frame": 1, "end_ms": 3.0}):  # fmt: skip
        with pytest.raises(ValueError, match="range"):
            Clip("v", "v", "video", **span)


def test_a_manifest_names_ranges(tmp_path, shared_clips):
    os.symlink(shared_clips / "videos/gabguerin_a1.mp4", tmp_path / "v.mp4")
    path = tmp_path / "clips.csv"
    path.write_text(
        "clip_id,uri,label,start_frame,end_frame,start_ms,end_ms\na,v.mp4,7,10,30,,\nb,v.mp4,,,,0,812.5\nc,v.mp4,,,,,\n"
    )
    rows = read_csv_manifest(str(path))
    a, b, c = clips_from_rows(rows, base=str(tmp_path), source=str(path)).clips
    assert (a.label, a.span, a.num_frames) == ("7", (10, 30, None, None), 20)
    assert (b.label, b.span) == (None, (None, None, 0.0, 812.5))
    assert len({a.fingerprint, b.fingerprint, c.fingerprint}) == 3
    for cells, words in {
        "x,v.mp4,,-1,,,": "start_frame must be a whole number",
        "x,v.mp4,,5,5,,": "must begin at 0 or later and end behind",
        "x,v.mp4,,1,,2,": "found both",
        "x,v.mp4,,,,x,": "start_ms must be a number",
    }.items():
        path.write_text(f"clip_id,uri,label,start_frame,end_frame,start_ms,end_ms\n{cells}\n")
        with pytest.raises(JobError, match=words):
            clips_from_rows(read_csv_manifest(str(path)), base=str(tmp_path), source=str(path))


@pytest.mark.parametrize(
    "span", [{"start_frame": 17, "end_frame": 41}, {"start_ms": 680.0, "end_ms": 1640.0}]
)
def test_landmarks_are_those_of_a_folder_that_was_cut(shared_clips, tmp_path, span):
    """Tracking begins afresh at the range's first frame, whatever clip came before."""
    pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe")
    from bare_loop import assert_same_bits, bare_landmarks

    from extraction.detectors import DetectorOptions
    from extraction.supervisor import DetectorProcess

    path = shared_clips / "videos/gabguerin_a1.mp4"
    clip = Clip("part", str(path), "video", **span)
    for frame in open_frames(clip, OPTIONS).frames:
        Image.fromarray(frame.image).save(tmp_path / f"{frame.index:04d}.png")
    with DetectorProcess(DetectorOptions(engine="holistic")) as detector:
        detector.extract(Clip("before", str(path), "video"))
        extraction = detector.extract(clip)
    (piece,) = extraction.pieces
    assert_same_bits(piece, bare_landmarks(tmp_path))
    assert piece.present("right_hand").any()
    assert piece.first_frame == 0
    assert extraction.fingerprint == current_fingerprint(clip)
