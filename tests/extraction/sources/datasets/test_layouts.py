"""Each data set's layout, in small, with its traps: what becomes a clip, what is said of it, what is told."""

import os
import pickle
import resource
import shutil
from collections import Counter
from pathlib import Path

import pytest
from small_datasets import BAD_2014, MAKERS, csl_daily, how2sign, wlasl, write

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.frames import FrameOptions, open_frames
from extraction.sources import Discovery
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import LAYOUTS, find_dataset


def found(name: str, root: Path, **options: bool) -> Discovery:
    return match(find_dataset(name, str(root)), **options)


def by_id(discovery: Discovery) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in discovery.clips}


def holes(discovery: Discovery) -> dict[str, list[str]]:
    assert discovery.annotated
    kinds: dict[str, list[str]] = {}
    for hole in discovery.annotated.holes:
        kinds.setdefault(hole.kind, []).append(hole.clip_id)
    return kinds


def test_phoenix_2014_t(tmp_path, shared_clips):
    discovery = found("phoenix-2014-t", MAKERS["phoenix-2014-t"](tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["dev/french_a1", "test/squats", "train/bsl_demo", "train/wave"]
    assert {(c.split, c.kind, c.fps, c.num_frames) for c in clips.values()} == {
        (split, "frames", 25.0, 8) for split in ("train", "dev", "test")
    }
    first = clips["train/bsl_demo"]
    assert first.path.endswith("/train/bsl_demo/1")
    assert (first.signer, first.gloss, first.text) == ("Signer01", "BIRD FLY", 'ein "vogel" fliegt ')
    assert (clips["train/wave"].gloss, clips["train/wave"].text) == ("__ON__ null", "null")
    assert clips["dev/french_a1"].gloss == 'SAMSTAG "WIND'
    assert clips["dev/french_a1"].text == "grün ß \u2028 und\x0bso ."
    assert clips["test/squats"].text == "NA"
    assert holes(discovery) == {
        "annotated-twice": ["train/wave"],
        "missing": ["test/gone"],
        "unannotated": ["train/stray"],
    }
    assert discovery.other_files == 1  # the .lprof
    assert discovery.annotated
    assert discovery.annotated.left_out == 1


def test_what_nobody_annotated_is_taken_when_asked_for(tmp_path, shared_clips):
    root = MAKERS["phoenix-2014-t"](tmp_path, shared_clips)
    discovery = found("phoenix-2014-t", root, takes_unannotated=True)
    stray = by_id(discovery)["train/stray"]
    assert (stray.split, stray.gloss, stray.num_frames, stray.fps) == ("train", None, 2, 25.0)
    assert discovery.annotated
    assert discovery.annotated.left_out == 0


def test_phoenix_2014(tmp_path, shared_clips):
    discovery = found("phoenix-2014", MAKERS["phoenix-2014"](tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["dev/02May", "train/01April_2010", f"train/{BAD_2014}"]
    first = clips["train/01April_2010"]
    assert (first.signer, first.gloss, first.text) == ("Signer04", "LOC MORGEN null", None)
    names = [frame.name for frame in open_frames(first, FrameOptions()).frames]
    assert names == [f"01April_2010.avi_pid0_fn{number}-0.png" for number in range(12)]
    assert holes(discovery) == {"known-bad": [f"train/{BAD_2014}"]}


@pytest.mark.parametrize("with_pickle", [True, False])
def test_csl_daily(tmp_path, shared_clips, with_pickle):
    discovery = found("csl-daily", csl_daily(tmp_path, shared_clips, with_pickle))
    clips = by_id(discovery)
    first, listed, labelled = (clips[f"S00000{n}_T00"] for n in ("0_P0000", "5_P0004", "7_P0003"))
    assert (first.split, first.gloss, first.text) == ("train", "他 谁", "他是谁\uff1f")
    assert (first.num_frames, first.fps) == (7, 30.0)
    assert (listed.split, listed.gloss, listed.signer) == ("train", None, None)
    assert (labelled.split, labelled.gloss) == (None, "好")
    assert (first.signer, labelled.signer) == (("0", "3") if with_pickle else (None, None))
    assert holes(discovery) == {
        "no-split": ["S000007_P0003_T00"],
        "no-label": ["S000005_P0004_T00"],
        "length": ["S000007_P0003_T00"],
    }
    names = [(frame.name, frame.error is None) for frame in open_frames(first, FrameOptions()).frames]
    assert names[0] == ("000000.jpg", True)
    assert names[-1] == ("000006.jpg", False)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


# A few bytes that put something at the place 2^31 of a memo, for which pickle's reader in C makes room.
FAR_MEMO = b"\x80\x04}r\xff\xff\xff\x7f."


@pytest.mark.parametrize("what", ["trap", "memo", "length", "text", "cut"])
def test_a_pickle_of_a_stranger(tmp_path, shared_clips, what):
    root = csl_daily(tmp_path, shared_clips)
    path = root / "sentence_label/csl2020ct_v2.pkl"
    content = pickle.loads(path.read_bytes())
    content["info"][0] |= {"trap": {"more": Trap(tmp_path / "sprung")}, "length": {"length": -1}}.get(
        what, {}
    )
    content["info"][0] |= {"label_gloss": ["\ud800"]} if what == "text" else {}
    data = {"memo": FAR_MEMO, "cut": path.read_bytes()[:-9]}.get(what) or pickle.dumps(content)
    path.write_bytes(data)
    words = {
        "trap": "found .*mkdir: nothing of it was run",
        "memo": "expected a dictionary with the list 'info'",
        "length": r"info\[0\]: expected .* and length",
        "text": "gloss is not valid Unicode",
        "cut": "expected a pickle, cannot read it",
    }[what]
    with pytest.raises(JobError, match=words):
        found("csl-daily", root)
    assert not (tmp_path / "sprung").exists()
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_kb < 4_000_000  # the far memo alone would be 16 GB


def test_a_list_of_splits_names_its_own_line(tmp_path, shared_clips):
    root = csl_daily(tmp_path, shared_clips)
    path = root / "sentence_label/split_1.txt"
    path.write_text(path.read_text().replace("|train", "|train ", 1))
    with pytest.raises(JobError, match=r"split_1\.txt, line 2: split may hold"):
        found("csl-daily", root)


def test_how2sign_cut(tmp_path, shared_clips):
    discovery = found("how2sign", how2sign(tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["--7E2sU6zP4_10-5-rgb_front", "--7E2sU6zP4_11-5-rgb_front"]
    assert [(c.split, c.text, c.is_part, c.num_frames) for c in clips.values()] == [
        ("train", 'He said "hi', False, 62),
        ("train", "null ", False, 58),
    ]
    assert holes(discovery) == {
        "no-range": ["--7E2sU6zP4_12-5-rgb_front"],
        "missing": ["--7E2sU6zP4_12-5-rgb_front", "x_0-5-rgb_front"],
        "unannotated": ["How2Sign/sentence_level/train/rgb_side/raw_videos/--7E2sU6zP4_10-2-rgb_side"],
    }
    assert discovery.annotated
    assert discovery.annotated.absent == ("how2sign_realigned_test.csv",)


def test_how2sign_uncut(tmp_path, shared_clips):
    discovery = found("how2sign", how2sign(tmp_path, shared_clips, uncut=True))
    clips = by_id(discovery)
    assert [(c.clip_id[-14:], c.start_ms, c.end_ms) for c in discovery.clips] == [
        ("10-5-rgb_front", 200.0, 800.0),
        ("11-5-rgb_front", 800.0, 1200.0),
    ]
    one, other = clips.values()
    assert one.uri == other.uri
    assert one.fingerprint != other.fingerprint
    # One whole video is no clip of its own beside its sentences.
    assert "unannotated" not in holes(discovery)


def test_wlasl(tmp_path, shared_clips):
    discovery = found("wlasl", wlasl(tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["00003", "00004", "69241"]
    assert clips["69241"].span == clips["00004"].span == (None, None, None, None)
    assert (clips["00003"].start_frame, clips["00003"].end_frame, clips["00003"].num_frames) == (10, 30, 20)
    assert [(c.gloss, c.label, c.signer, c.split) for c in clips.values()] == [
        ("null", "1", "118", "train"),
        ("null", "1", "118", "test"),
        ("book", "0", "118", "train"),
    ]
    assert holes(discovery) == {"missing": ["00002"], "unannotated": ["99999"]}


def test_wlasl_as_downloaded(tmp_path, shared_clips):
    discovery = found("wlasl", wlasl(tmp_path, shared_clips, "raw_videos_mp4"))
    clip = by_id(discovery)["00003"]
    assert (os.path.basename(clip.path), clip.start_frame, clip.end_frame) == ("abcdefghijk.mp4", 10, 30)


def test_wlasl_ranges_that_are_none(tmp_path, shared_clips):
    root = wlasl(tmp_path, shared_clips)
    path = root / "WLASL_v0.3.json"
    path.write_text(path.read_text().replace('"frame_end": 30', '"frame_end": 5'))
    discovery = found("wlasl", root)
    assert not by_id(discovery)["00003"].is_part
    assert holes(discovery)["no-range"] == ["00003"]
    assert "length" not in holes(discovery)
    path.write_text(
        path.read_text().replace('"frame_start": 101, "frame_end": 165', '"frame_start": 60, "frame_end": 65')
    )
    assert by_id(found("wlasl", root))["00004"].span[:2] == (59, 65)


def test_wlasl_without_a_split(tmp_path, shared_clips):
    root = wlasl(tmp_path, shared_clips)
    path = root / "WLASL_v0.3.json"
    path.write_text(path.read_text().replace('"split": "test"', '"split": null'))
    discovery = found("wlasl", root)
    assert by_id(discovery)["00004"].split is None
    assert holes(discovery)["no-split"] == ["00004"]


def test_autsl(tmp_path, shared_clips):
    discovery = found("autsl", MAKERS["autsl"](tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["train/signer0_sample1", "val/signer6_sample1"]
    first = clips["train/signer0_sample1"]
    assert os.path.basename(first.path) == "signer0_sample1_color.mp4"
    assert (first.signer, first.label, first.gloss, first.text) == ("signer0", "41", "gel, git", "come")
    assert (clips["val/signer6_sample1"].split, clips["val/signer6_sample1"].gloss) == ("val", "abla")
    assert holes(discovery) == {
        "missing": ["train/signer0_sample2"],
        "unannotated": ["test/signer9_sample1_color"],
    }


def test_include(tmp_path, shared_clips):
    discovery = found("include", MAKERS["include"](tmp_path, shared_clips))
    clips = by_id(discovery)
    assert list(clips) == ["Adjectives/4. sad/MVI_9568", "Adjectives/5. Beautiful/MVI_9568"]
    assert [(c.label, c.gloss, c.split, c.num_frames) for c in clips.values()] == [
        ("sad", "sad", "train", 58),
        ("Beautiful", "Beautiful", "test", 62),
    ]
    assert holes(discovery) == {"missing": ["Adjectives/1. loud/MVI_1"]}
    (missing,) = [a for a in discovery.annotated.annotations if "loud" in a.clip_id]
    assert missing.label == 'loud, "very"'


def test_frames_and_videos_of_one_tree(tmp_path, shared_clips):
    root = MAKERS["autsl"](tmp_path / "a", shared_clips)
    shutil.copytree(MAKERS["phoenix-2014"](tmp_path / "b", shared_clips), root / "b", symlinks=True)
    frames, videos = found("frames", root), found("videos", root)
    assert {clip.kind for clip in frames.clips} == {"frames"}
    assert {clip.kind for clip in videos.clips} == {"video"}
    assert (len(frames.clips), len(videos.clips)) == (3, 6)
    table = write(tmp_path / "said.tsv", 'clip_id\tgloss\tsplit\nval/signer6_sample1_color\t"A\ttest\n')
    annotated = match(find_dataset("videos", str(root), str(table)))
    assert len(annotated.clips) == 6
    clip = by_id(annotated)["val/signer6_sample1_color"]
    assert (clip.gloss, clip.split) == ('"A', "test")
    with pytest.raises(JobError, match="expected --annotations to name a CSV or TSV"):
        find_dataset("frames", str(root), str(root))


@pytest.mark.parametrize("name", MAKERS)
def test_auto_knows_each_and_says_why(tmp_path, shared_clips, name):
    root = MAKERS[name](tmp_path / "data" / "sets", shared_clips)
    for given in (root, root.parent):
        located = find_dataset("auto", str(given))
        assert located.layout.name == name
        assert located.why.startswith(f"{name}: ")
        assert str(root) in located.why
    for clip in match(located).clips:  # and every clip can be opened
        assert next(open_frames(clip, FrameOptions()).frames).image is not None


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("phoenix-2014-t", "PHOENIX-2014-T.dev.corpus.csv", b""),
        ("phoenix-2014-t", "PHOENIX-2014-T.dev.corpus.csv", "name|speaker\n".encode("utf-16")),
        ("autsl", "train_labels.csv", b"name,class\nsigner0_sample1,41\n"),
        ("autsl", "train_labels.csv", b'"signer0_sample1",41\n'),
        ("csl-daily", "split_1.txt", b"S000000_P0000_T00|train\n"),
    ],
)
def test_a_split_is_never_gone_for_its_first_line(tmp_path, shared_clips, name, file, content):
    root = MAKERS[name](tmp_path, shared_clips)
    (path,) = root.rglob(file)
    path.write_bytes(content)
    for wanted in (name, "auto"):
        with pytest.raises(JobError, match=rf"{file} has the name of .* but does not begin as that does"):
            find_dataset(wanted, str(root))


@pytest.mark.parametrize(("name", "inside"), [("autsl", "train"), ("include", "Adjectives_1of8/Adjectives")])
def test_the_folder_above_is_named(tmp_path, shared_clips, name, inside):
    root = MAKERS[name](tmp_path, shared_clips)
    for wanted in (name, "auto"):
        with pytest.raises(
            JobError, match=rf"{root} holds \w+\.csv of {name}: is it the folder that is meant"
        ):
            find_dataset(wanted, str(root / inside))


def test_the_other_kind_of_clips(tmp_path, shared_clips):
    with pytest.raises(
        JobError, match=r"expected <clip>\.mp4, .* found none, but 3 clips of frames: use --dat"
    ):
        found("videos", MAKERS["phoenix-2014"](tmp_path / "f", shared_clips))
    with pytest.raises(JobError, match="found none, but 6 clips of videos: use --dataset videos"):
        found("frames", MAKERS["autsl"](tmp_path / "v", shared_clips))
    with pytest.raises(JobError, match=r"lie on this machine's disks: found a URI \(s3://"):
        find_dataset("auto", "s3://bucket/x")


def test_auto_is_not_sure(tmp_path, shared_clips):
    MAKERS["wlasl"](tmp_path / "one", shared_clips)
    MAKERS["autsl"](tmp_path / "two", shared_clips)
    with pytest.raises(JobError, match=r"could be several data sets \(wlasl: .*; autsl: .*name one"):
        find_dataset("auto", str(tmp_path))
    assert find_dataset("wlasl", str(tmp_path)).layout.name == "wlasl"
    (tmp_path / "none").mkdir()
    with pytest.raises(JobError, match="is none of the data sets") as caught:
        find_dataset("auto", str(tmp_path / "none"))
    for wanted in (
        "PHOENIX-2014-T.train.corpus.csv",
        "WLASL_v0.3.json",
        "csl2020ct_v2.pkl",
        "train_labels.csv",
    ):
        assert wanted in str(caught.value)


def test_root_at_any_level(tmp_path, shared_clips):
    root = MAKERS["phoenix-2014-t"](tmp_path, shared_clips)
    base = root / "PHOENIX-2014-T"
    clips = found("phoenix-2014-t", root).clips
    for given in (
        base,
        base / "features",
        base / "features/fullFrame-210x260px",
        base / "annotations/manual",
    ):
        assert found("phoenix-2014-t", given).clips == clips
    with pytest.raises(JobError, match=r"expected PHOENIX-2014-T\.train\.corpus\.csv, .* found none"):
        found("phoenix-2014-t", base / "features/fullFrame-210x260px/dev")


def test_annotations_elsewhere(tmp_path, shared_clips):
    root = MAKERS["phoenix-2014-t"](tmp_path / "in", shared_clips)
    clips = found("phoenix-2014-t", root).clips
    (root / "PHOENIX-2014-T/annotations").rename(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="--annotations"):
        find_dataset("phoenix-2014-t", str(root))
    for given in (tmp_path / "elsewhere", tmp_path / "elsewhere/manual"):
        assert match(find_dataset("phoenix-2014-t", str(root), str(given))).clips == clips
    with pytest.raises(JobError, match="found nothing there"):
        find_dataset("phoenix-2014-t", str(root), str(tmp_path / "nowhere"))


def test_two_copies_are_one_where_they_say_the_same(tmp_path, shared_clips):
    root = MAKERS["how2sign"](tmp_path, shared_clips)
    (path,) = root.rglob("how2sign_realigned_val.csv")
    copy = root / path.name
    shutil.copy(path, copy)
    assert found("how2sign", root).clips
    copy.write_text(copy.read_text() + "\n" + copy.read_text().splitlines()[1].replace("x_0", "x_1") + "\n")
    with pytest.raises(JobError, match=r"expected one how2sign_realigned_val\.csv .* several that differ"):
        found("how2sign", root)


def test_one_video_in_two_places(tmp_path, shared_clips):
    root = how2sign(tmp_path, shared_clips)
    (path,) = root.rglob("*_10-5-rgb_front.mp4")
    (path.parent.parent / "copy").mkdir()
    shutil.copy(path, path.parent.parent / "copy" / path.name)
    discovery = found("how2sign", root)
    assert holes(discovery)["found-twice"] == ["--7E2sU6zP4_10-5-rgb_front"]
    assert Counter(c.clip_id for c in discovery.clips).most_common(1)[0][1] == 1
    assert len(discovery.clips) == 2


def test_a_short_id_that_several_clips_have_loses_none_of_them(tmp_path):
    for name in ("001", "extra/001", "a/002", "b/002"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        (tmp_path / "frames" / name / "1.png").write_bytes(b"x")
    table = tmp_path / "said.csv"
    table.write_text("clip_id,gloss\n001,A\n002,B\n")
    discovery = match(find_dataset("frames", str(tmp_path / "frames"), str(table)))
    glosses = {clip.clip_id: clip.gloss for clip in discovery.clips}
    assert glosses == {"001": "A", "extra/001": None, "a/002": None, "b/002": None}
    assert holes(discovery)["found-twice"] == ["001", "002"]


def test_the_wrong_folder_of_clips(tmp_path, shared_clips):
    root = MAKERS["phoenix-2014-t"](tmp_path, shared_clips)
    shutil.rmtree(root / "PHOENIX-2014-T/features/fullFrame-210x260px/dev")
    assert len(found("phoenix-2014-t", root).clips) == 3
    for split in ("train", "test"):
        shutil.rmtree(root / f"PHOENIX-2014-T/features/fullFrame-210x260px/{split}")
    other = root / "PHOENIX-2014-T/features/fullFrame-210x260px/x/y"
    other.mkdir(parents=True)
    (other / "1.png").write_bytes(b"x")
    with pytest.raises(JobError, match=r"none of 5 annotated clips, such as 'train/bsl_demo'.*such as 'x/y'"):
        found("phoenix-2014-t", root)
    shutil.rmtree(root / "PHOENIX-2014-T/features")
    with pytest.raises(JobError, match="but no folder of clips"):
        found("phoenix-2014-t", root)


def test_a_name_that_nobody_knows(tmp_path):
    with pytest.raises(JobError, match=r"expected phoenix-2014-t, .* or auto, found 'phoenix'"):
        find_dataset("phoenix", str(tmp_path))


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_declared_fits_together(name):
    layout = LAYOUTS[name]
    assert layout.lies
    assert layout.title
    assert layout.licence
    assert any(file.is_enough for file in layout.files)
    splits = {file.key for file in layout.files} & {"train", "dev", "val", "test"}
    assert not splits or not layout.expected or splits == set(layout.expected)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"frame_start": 11', '"frame_start": "x"', "expected a list of"),
        ('"frame_start": 11, ', "", "expected a list of .*frame_start"),
        ('"video_id": "00003"', '"video_id": "../../etc"', "clip_id must be a name or relative path"),
        ('"split": "val"', '"split": "a/b"', "split may hold"),
        ('"gloss": "book"', '"glos": "book"', "expected a list of"),
        ("[", "{", "expected a list of"),
        ('"gloss": "book"', '"gloss": "bo\\ud800ok"', "gloss is not valid Unicode"),
        ('"frame_start": 11', '"frame_start": Infinity', "expected a list of .*OverflowError"),
    ],
)
def test_a_json_that_cannot_be_meant(tmp_path, shared_clips, old, new, words):
    root = wlasl(tmp_path, shared_clips)
    path = root / "WLASL_v0.3.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(JobError, match=words):
        found("wlasl", root)


@pytest.mark.parametrize("number", [10**30, -5, 10**12])
def test_numbers_beyond_any_video(tmp_path, shared_clips, number):
    root = wlasl(tmp_path, shared_clips, "raw_videos_mp4")
    path = root / "WLASL_v0.3.json"
    path.write_text(path.read_text().replace('"frame_start": 11', f'"frame_start": {number}'))
    discovery = found("wlasl", root)
    clip = by_id(discovery).get("00003")
    if number < 0:
        assert clip is not None
        assert clip.span[:2] == (0, 30)
    else:
        assert clip is None
        assert "00003" in holes(discovery)["no-range"]
