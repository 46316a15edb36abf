"""Finding clips takes memory for each clip, not for each of its frames: there may be a hundred million."""

import tracemalloc

import pytest

from extraction.sources import clips_from_rows, discover_tree

CLIPS, FRAMES = 40, 250


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    for clip in range(CLIPS):
        (root / f"{clip}").mkdir()
        for frame in range(FRAMES):
            (root / f"{clip}/images{frame:04d}.png").touch()
    return root


@pytest.mark.parametrize("by_manifest", [False, True])
def test_names_of_frames_are_not_kept(tree, by_manifest):
    rows = [(n, {"clip_id": str(n), "uri": str(n)}) for n in range(CLIPS)]

    def find():
        if by_manifest:
            return clips_from_rows(rows, base=str(tree), source="manifest")
        return discover_tree(str(tree))

    find()  # what is loaded and compiled once is no matter here
    tracemalloc.start()
    try:
        found = find()
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(clip.num_frames for clip in found.clips) == CLIPS * FRAMES
    # A name takes 63 bytes, and what is known of its file 200 while its folder is looked at.
    assert most_bytes < CLIPS * FRAMES * 63 / 2
