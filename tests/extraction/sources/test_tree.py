import os
import subprocess
import sys
from pathlib import Path

import pytest
from open_to_all import open_to_all

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.sources import Discovery, DiscoveryCounts, discover_tree, read_frame_folder

NOBODY_UID = 65534


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def ids(discovery: Discovery) -> list[str]:
    return [clip.clip_id for clip in discovery.clips]


def test_phoenix_like_tree(phoenix_root: Path) -> None:
    discovery = discover_tree(str(phoenix_root))
    found = {clip.clip_id: (clip.split, clip.num_frames) for clip in discovery.clips}
    assert found == {
        "dev/french_a1": ("dev", 62),
        "test/squats": ("test", 65),
        "train/bsl_demo": ("train", 125),
        "train/wave": ("train", 58),
    }
    assert discovery.other_files == 1
    assert all(len(clip.fingerprint) == 32 and clip.kind == "frames" for clip in discovery.clips)
    names = read_frame_folder(discovery.clips[0].path).names
    assert names == tuple(f"images{n:04d}.png" for n in range(1, 63))


def test_real_videos_claim_their_frames(shared_clips: Path) -> None:
    discovery = discover_tree(str(shared_clips / "videos"))
    found = {clip.clip_id: clip.num_frames for clip in discovery.clips}
    assert found["wave_pose_testvideo"] == 58
    assert found["ntu_sample"] == 72
    assert found["asl_hand.25fps"] == 325
    assert {clip.kind for clip in discovery.clips} == {"video"}


def test_images_beside_folders_with_images_both_count(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "a/b/1.PNG", "a/b/2.png", "c10/x.webp", "c9/x.tiff", "v/film.MKV")
    discovery = discover_tree(str(tmp_path))
    assert ids(discovery) == ["a", "a/b", "c9", "c10", "v/film"]
    assert [clip.num_frames for clip in discovery.clips] == [1, 2, 1, 1, 0]
    assert all(clip.split is None for clip in discovery.clips)


def test_a_lone_level_belongs_to_its_parent(tmp_path: Path) -> None:
    write(tmp_path, "train/x/1/f1.png", "train/x/1/deep/f1.png", "train/y/1/f1.png", "train/y/2/f1.png")
    write(tmp_path, "train/z/1/f1.png", "train/z/f1.png", "train/u/1/1/f.png", "dev/1/f.png")
    discovery = discover_tree(str(tmp_path))
    assert ids(discovery) == [
        "dev/1",
        "train/u/1",
        "train/x",
        "train/x/1/deep",
        "train/y/1",
        "train/y/2",
        "train/z",
        "train/z/1",
    ]
    assert discovery.clips[2].path == str(tmp_path / "train/x/1")


@pytest.mark.parametrize("below", ["", "1/"])
def test_images_in_the_root_are_a_clip_of_its_name(tmp_path: Path, below: str) -> None:
    write(tmp_path / "wave", f"{below}f1.png")
    assert ids(discover_tree(str(tmp_path / "wave") + "/")) == ["wave"]


def test_splits(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "val/b.mp4", "train/1.png", "Test/c/1.png", "x/dev/1.png", "dev.mp4")
    splits = {clip.clip_id: clip.split for clip in discover_tree(str(tmp_path)).clips}
    assert splits == {
        "train/a": "train",
        "val/b": "val",
        "train": None,
        "Test/c": None,
        "x/dev": None,
        "dev": None,
    }
    assert {clip.split for clip in discover_tree(str(tmp_path), split_from="none").clips} == {None}


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "a/notes.txt", "a/.hidden.png", ".git/x.png", "a/deep/list.csv")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a/lost").symlink_to("nowhere")
    discovery = discover_tree(str(tmp_path))
    assert ids(discovery) == ["a"]
    assert (discovery.other_files, discovery.hidden_files) == (2, 2)
    assert (discovery.empty_folders, discovery.broken_links) == (1, 1)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path, "data/root/a/1.png", "data/other/1.png")
    root = tmp_path / "data/root"
    (root / "again").symlink_to(".")
    (root / "a/up").symlink_to("..")
    (root / "itself").symlink_to("itself")
    (root / "all").symlink_to("..")
    (root / "same").symlink_to("a")
    discovery = discover_tree(str(root))
    assert ids(discovery) == ["a", "all/other", "same"]
    assert (discovery.link_loops, discovery.broken_links) == (4, 1)


def test_a_link_that_lost_its_video_stays_a_clip(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (clip,) = discover_tree(str(tmp_path)).clips
    assert (clip.clip_id, clip.num_frames, clip.fingerprint) == ("gone", 0, "")


def test_odd_names(tmp_path: Path) -> None:
    names = ["with space", "quote'\"", "new\nline", "Grüße", "手話", "[a]*?", "a%20b"]
    write(tmp_path, *(f"{name}/1.png" for name in names))
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(raw)
    Path(os.fsdecode(raw), "1.png").write_bytes(b"x")
    discovery = discover_tree(str(tmp_path))
    assert sorted(ids(discovery)) == sorted([*names, r"caf\xe9"])
    assert all(read_frame_folder(clip.path).names == ("1.png",) for clip in discovery.clips)


@pytest.mark.parametrize("pair", [("x/1.png", "x.mp4"), ("x.avi", "x.mp4"), ("r/r/1.png", "r/1.png")])
def test_two_inputs_of_one_id_stop_the_job(tmp_path: Path, pair: tuple[str, str]) -> None:
    write(tmp_path, *pair)
    root = tmp_path / "r" if pair[0].startswith("r/") else tmp_path
    with pytest.raises(JobError) as caught:
        discover_tree(str(root))
    for name in pair:
        assert repr(str(tmp_path / name).removesuffix("/1.png")) in str(caught.value)


def test_bytes_and_their_spelling_do_not_share_an_id(tmp_path: Path) -> None:
    write(tmp_path, r"caf\xe9/1.png")
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"caf\xe9"))
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9")), "1.png").write_bytes(b"x")
    with pytest.raises(JobError, match="two inputs"):
        discover_tree(str(tmp_path))


def test_a_root_that_is_no_folder_of_clips(tmp_path: Path) -> None:
    write(tmp_path, "film.mp4", "table.csv", "texts/a.txt", "texts/.b")
    for name, words in [
        ("none", "No such file"),
        ("film.mp4", "give its folder"),
        ("table.csv", "manifest"),
        ("texts", r"png(.|\n)*mp4(.|\n)* 1 other files, 1 hidden files"),
    ]:
        with pytest.raises(JobError, match=words) as caught:
            discover_tree(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_progress_ends_with_what_is_found(tmp_path: Path, num_threads: int) -> None:
    write(tmp_path, "a/1.png", "a/2.png", "b/1.png", "c.mp4")
    seen: list[DiscoveryCounts] = []
    discover_tree(str(tmp_path), on_progress=seen.append, num_threads=num_threads)
    assert seen[-1] == DiscoveryCounts(clips=3, folders=3, frames=3)


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, *(f"{n % 7}/{n}/f{m}.png" for n in range(40) for m in range(2)))
    found: list[tuple[Clip, ...]] = [discover_tree(str(tmp_path), num_threads=n).clips for n in (1, 2, 16)]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 40


@pytest.mark.parametrize(("denied", "clips"), [("secret", "seen"), ("", "")])
def test_a_folder_that_may_not_be_listed_is_not_lost_silently(
    tmp_path: Path, denied: str, clips: str
) -> None:
    root = tmp_path / "root"
    write(root, "seen/1.png", "secret/a/1.png")
    program = """if True:
        import os, sys
        from extraction.errors import JobError
        from extraction.sources import discover_tree
        root, denied, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
        # Open the way before giving up the right to do so, and stand in the root: pytest's own
        # folders are closed to others.
        os.chmod(root, 0o755)
        os.chdir(root)
        os.chmod(denied or ".", 0)
        if os.geteuid() == 0:
            os.setuid(uid)
        try:
            found = discover_tree(".")
        except JobError as error:
            print("JobError", error)
        else:
            for clip in found.clips:
                print("clip", clip.clip_id)
            for path, reason in found.unreadable:
                print("unreadable", os.path.basename(path), reason)
    """
    open_to_all(root)
    command = [sys.executable, "-c", program, str(root), denied, str(NOBODY_UID)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    (root / denied).chmod(0o755)
    assert done.returncode == 0, done.stderr
    if clips:
        assert done.stdout.splitlines() == [f"clip {clips}", f"unreadable {denied} Permission denied"]
    else:
        assert done.stdout.startswith("JobError expected a folder with clips")
        assert "Permission denied" in done.stdout
