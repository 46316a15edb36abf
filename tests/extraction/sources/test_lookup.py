"""A clip is found again by its id as it was found at first: by path, or by its data set's annotations."""

import shutil
from pathlib import Path

import pytest
from small_datasets import MAKERS, how2sign, wlasl, write

from extraction.clips import ClipKind
from extraction.errors import JobError
from extraction.sources import ClipFinder, discover_tree, find_clip, lookup
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import find_dataset
from extraction.sources.tree import list_tree

pytestmark = pytest.mark.once

LAYOUTS = {
    **{name: (name, maker) for name, maker in MAKERS.items()},
    "how2sign, uncut": ("how2sign", lambda root, clips: how2sign(root, clips, uncut=True)),
    "wlasl, raw": ("wlasl", lambda root, clips: wlasl(root, clips, "raw_videos_mp4")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_clip_of_every_layout(tmp_path, shared_clips, layout):
    name, maker = LAYOUTS[layout]
    root = maker(tmp_path, shared_clips)
    found = match(find_dataset(name, str(root)), takes_unannotated=True)
    finder = ClipFinder(str(root), name)
    annotated = {annotation.clip_id for annotation in found.annotated.annotations}
    for clip in found.clips:
        again = finder.find(clip.clip_id)
        if clip.clip_id in annotated:
            assert again == clip
        else:
            assert (again.uri, again.kind, again.fingerprint) == (clip.uri, clip.kind, clip.fingerprint)
    for hole in found.annotated.holes:
        if hole.kind == "missing":
            with pytest.raises(JobError, match=r"expected its frames or video below .*give the folder that"):
                finder.find(hole.clip_id)


def test_paths_need_no_data_set(tmp_path, shared_clips):
    root = MAKERS["autsl"](tmp_path, shared_clips)
    for clip in discover_tree(str(root)).clips:
        again = find_clip(str(root), clip.clip_id)
        assert (again.uri, again.fingerprint) == (clip.uri, clip.fingerprint)
    with pytest.raises(JobError, match=r"'train/signer0_sample1': expected its frames in .*FRAMES when the"):
        find_clip(str(root), "train/signer0_sample1")
    assert find_clip(str(root), "train/signer0_sample1", "autsl").label == "41"


def test_folders_are_listed_only_where_a_path_does_not_say_it(tmp_path, shared_clips, monkeypatch):
    listed = []

    def seen(root: str) -> list[tuple[str, str, ClipKind]]:
        listed.append(root)
        return list_tree(root)

    monkeypatch.setattr(lookup, "list_tree", seen)
    root = MAKERS["phoenix-2014-t"](tmp_path / "p", shared_clips)
    finder = ClipFinder(str(root), "phoenix-2014-t")
    assert finder.find("train/wave").gloss == "__ON__ null"
    assert listed == []
    root = how2sign(tmp_path / "h", shared_clips)
    finder = ClipFinder(str(root), "how2sign")
    for number in (10, 11):
        assert finder.find(f"--7E2sU6zP4_{number}-5-rgb_front").split == "train"
    assert listed == [str(root)]


def test_of_two_copies_the_one_that_was_extracted(tmp_path, shared_clips):
    root = MAKERS["wlasl"](tmp_path, shared_clips)
    (root / "videos/a copy").mkdir()
    shutil.copy(root / "videos/69241.mp4", root / "videos/a copy/69241.mp4")
    (clip,) = [clip for clip in match(find_dataset("wlasl", str(root))).clips if clip.clip_id == "69241"]
    assert clip.uri == str(root / "videos/69241.mp4")
    assert find_clip(str(root), "69241", "wlasl") == clip


def test_no_annotation_leads_out_of_the_folder(tmp_path, shared_clips):
    root = how2sign(tmp_path / "in", shared_clips, uncut=True)
    (video,) = root.rglob("*.mp4")
    shutil.copy(video, tmp_path / "other.mp4")
    (path,) = root.rglob("how2sign_realigned_train.csv")
    path.write_text(path.read_text().replace("--7E2sU6zP4-5-rgb_front", "../other"))
    with pytest.raises(JobError, match=r"as '--7E2sU6zP4_10-5-rgb_front' or '\.\./other' at any depth"):
        find_clip(str(root), "--7E2sU6zP4_10-5-rgb_front", "how2sign")
    with pytest.raises(JobError, match="expected its frames in"):
        find_clip(str(root), "../other")


def test_a_file_uri_is_a_path(tmp_path, shared_clips):
    root = MAKERS["autsl"](tmp_path, shared_clips)
    for name, clip_id in ((None, "train/signer0_sample1_color"), ("autsl", "train/signer0_sample1")):
        assert find_clip(f"file://{root}", clip_id, name) == find_clip(str(root), clip_id, name)
    clip = find_clip(str(root), "train/signer0_sample1", "autsl")
    assert find_clip(f"file://{root}", clip.clip_id, "autsl", f"file://{root}") == clip


def test_annotations_elsewhere_or_gone(tmp_path, shared_clips):
    root = MAKERS["phoenix-2014-t"](tmp_path / "in", shared_clips)
    clip = find_clip(str(root), "dev/french_a1", "phoenix-2014-t")
    (root / "PHOENIX-2014-T/annotations").rename(tmp_path / "elsewhere")
    media = root / "PHOENIX-2014-T/features/fullFrame-210x260px"
    assert find_clip(str(media), "dev/french_a1", "phoenix-2014-t", str(tmp_path / "elsewhere")) == clip
    assert find_clip(str(media), "dev/french_a1", "phoenix-2014-t").uri == clip.uri
    with pytest.raises(JobError, match=r"expected its frames in .*expected PHOENIX-2014-T\.train\.corpus"):
        find_clip(str(root), "dev/french_a1", "phoenix-2014-t")
    with pytest.raises(JobError, match=r"expected PHOENIX-2014-T\.train\.corpus\.csv"):
        find_clip(str(media), "dev/french_a1", "phoenix-2014-t", str(media))
    with pytest.raises(JobError, match="found nothing there"):
        find_clip(str(tmp_path / "nowhere"), "dev/french_a1", "phoenix-2014-t")


def test_a_table_of_ones_own_whose_ids_are_ends_of_paths(tmp_path, shared_clips):
    root = MAKERS["include"](tmp_path / "in", shared_clips)
    table = write(tmp_path / "said.csv", "clip_id,gloss\n4. sad/MVI_9568,SAD\n")
    path = str(Path(root) / "Adjectives_1of8/Adjectives/4. sad/MVI_9568.MOV")
    clip = find_clip(str(root), "4. sad/MVI_9568", "videos", str(table))
    assert (clip.uri, clip.gloss) == (path, "SAD")
    assert find_clip(str(root), "4. sad/MVI_9568", "videos").uri == path
    with pytest.raises(JobError, match=r"'MVI_1': expected its frames in"):
        find_clip(str(root), "MVI_1", "videos")
