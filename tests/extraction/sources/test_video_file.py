from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from extraction.sources import discover_tree, fingerprint_video
from extraction.sources.video_file import claimed_num_frames


def write_video(path: Path, num_frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if path.suffix != ".webm" else "libvpx", Fraction(25))
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for n in range(num_frames):
            image = np.full((32, 32, 3), n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


@pytest.mark.parametrize("extension", ["mp4", "mov", "avi", "mkv", "webm"])
def test_a_container_claims_its_frames(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"new\nline é 100%.{extension}"
    write_video(path, 12)
    assert claimed_num_frames(str(path)) == 12
    assert len(fingerprint_video(str(path))) == 32


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"\0\0\0\x18ftypmp42" + b"\xff" * 500])
def test_no_video_claims_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    assert claimed_num_frames(str(path)) == 0


@pytest.mark.parametrize(
    "playlist", ["#EXTM3U\n#EXTINF:1,\nreal.mp4\n", "ffconcat version 1.0\nfile real.mp4\n"]
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, playlist: str) -> None:
    write_video(tmp_path / "real.mp4", 5)
    (tmp_path / "x.mp4").write_text(playlist)
    assert claimed_num_frames(str(tmp_path / "x.mp4")) == 0


def test_a_missing_video(tmp_path: Path) -> None:
    assert claimed_num_frames(str(tmp_path / "x.mp4")) == 0
    assert fingerprint_video(str(tmp_path / "x.mp4")) == ""


def test_a_truncated_video_does_not_raise(tmp_path: Path) -> None:
    write_video(tmp_path / "x.avi", 12)
    data = (tmp_path / "x.avi").read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "x.avi").write_bytes(data[:length])
        assert claimed_num_frames(str(tmp_path / "x.avi")) >= 0


def test_a_video_cut_anywhere_claims_something_and_stops_nothing(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "in" / "cut.mp4"
    cut.parent.mkdir()
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for value in (0, 128, 255):
            picture = np.full((32, 32, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    data = whole.read_bytes()
    assert claimed_num_frames(str(whole)) == 3
    claims = set()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        claims.add(claimed_num_frames(str(cut)))
    assert claims <= {0, 3}
    assert len(discover_tree(str(cut.parent)).clips) == 1
