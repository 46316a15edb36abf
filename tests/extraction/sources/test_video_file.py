from fractions import Fraction

import av
import numpy as np

from extraction.sources import discover_tree
from extraction.sources.video_file import claimed_num_frames


def test_a_video_cut_anywhere_claims_something_and_stops_nothing(tmp_path):
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
