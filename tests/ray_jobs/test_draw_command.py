"""`landmarks draw` on real landmarks, with the frames they were found in and without."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from real_dataset import POINTS, SIZE_PX, make_dataset, real_landmarks, split_rows

from extraction.clips import Clip
from extraction.draw import COLOURS_RGB
from extraction.drawn_difference import APART_RGB
from extraction.drawn_sheet import GAP_PX
from ray_jobs.cli import main
from storage.dataset import Dataset
from storage.plan import Plan
from storage.rows import Provenance, encode
from storage.shards import write_shard

CLIP = "train/bsl_demo"
FRAMES = 125
LOST = FRAMES - 2
"""The unreadable one."""


@pytest.fixture(scope="module")
def static_dataset(tmp_path_factory: pytest.TempPathFactory, shared_clips: Path) -> Dataset:
    """The same clips, each frame detected by itself."""
    return make_dataset(tmp_path_factory.mktemp("static") / "static", shared_clips, array="static")


@pytest.fixture
def draw(real_dataset, tmp_path, capsys):
    """Runs the command, and gives what it says of the pictures as JSON."""

    def run(*arguments: object) -> list[dict]:
        options = ["draw", real_dataset.store.location, *map(str, arguments), "--to", str(tmp_path / "to")]
        assert main([*options, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def fails(real_dataset, tmp_path, capsys):
    def run(*arguments: object) -> str:
        assert (
            main(["draw", real_dataset.store.location, *map(str, arguments), "--to", str(tmp_path / "to")])
            == 2
        )
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("error: ")
        return output.err

    return run


def picture(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def share_of(colour: tuple[int, int, int], frame: np.ndarray, tolerance: int = 12) -> float:
    return float((np.abs(frame.astype(int) - colour).max(axis=2) <= tolerance).mean())


def video(path: str) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def expected(shared_clips: Path):
    return real_landmarks(np.load(shared_clips / "phoenix_like/expected/bsl_demo.npz")["tracking"])


class TestOnBlack:
    def test_a_hand_lies_where_its_landmarks_say(self, draw, shared_clips):
        (drawn,) = draw(CLIP, "--on", "black", "--frame", 90, "--image-size", 520)
        shown = picture(drawn["path"])
        assert (drawn["kind"], drawn["clips"], drawn["frames"]) == ("frame", [CLIP], [90])
        assert shown.shape == (520, 420, 3)
        for hand in ("left_hand", "right_hand"):
            points = expected(shared_clips).parts[hand][90, :, :2]
            places = (points * (420, 520)).astype(int)
            inside = [(x, y) for x, y in places if 0 <= x < 420 and 0 <= y < 520]
            hits = [np.abs(shown[y, x].astype(int) - COLOURS_RGB[hand]).max() < 40 for x, y in inside]
            assert np.mean(hits) > 0.8  # one hand may cover the other
        assert share_of((0, 0, 0), shown) > 0.8

    def test_the_frames_need_not_be_there(self, fails, draw):
        message = fails(CLIP)
        assert "--frames FRAMES" in message
        assert "--on black" in message
        assert draw(CLIP, "--on", "black")

    def test_every_frame_is_in_the_video_the_unreadable_one_too(self, draw):
        (drawn,) = draw(CLIP, "--on", "black", "--video", "mp4", "--image-size", 260)
        frames = video(drawn["path"])
        assert (drawn["kind"], len(drawn["frames"]), len(frames)) == ("video", FRAMES, FRAMES)
        assert frames[0].shape == (260, 210, 3)
        lit = [(frame.max(axis=2) > 100).mean() for frame in frames]
        # Its caption stands alone there.
        assert lit[LOST] < 0.5 * min(lit[:LOST])
        assert min(lit) > 0


class TestOnFrames:
    def test_the_picture_is_the_frame_with_lines_on_it(self, draw, phoenix_root):
        (drawn,) = draw(CLIP, "--frames", phoenix_root, "--frame", 90)
        shown = picture(drawn["path"])
        frame = picture(str(sorted((phoenix_root / CLIP).iterdir())[90]))
        same = cv2.resize(frame, shown.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(int)
        changed = np.abs(shown - same).max(axis=2) > 60
        assert 0.005 < changed.mean() < 0.3

    @pytest.mark.parametrize("kind", ["mp4", "webp", "gif"])
    def test_a_video_of_every_fifth_frame_takes_as_long_as_the_clip(self, kind, draw, phoenix_root):
        (drawn,) = draw(CLIP, "--frames", phoenix_root, "--video", kind, "--every", 5, "--image-size", 130)
        assert drawn["frames"] == list(range(0, FRAMES, 5))
        if kind == "mp4":
            with av.open(drawn["path"]) as container:
                assert container.streams.video[0].frames == 25
                assert container.duration / 1e6 == pytest.approx(5.0, abs=0.1)
        else:
            with Image.open(drawn["path"]) as image:
                assert (image.n_frames, image.size) == (25, (105, 130))

    def test_a_sheet_shows_frames_of_the_whole_clip(self, draw, phoenix_root):
        (drawn,) = draw(CLIP, "--frames", phoenix_root, "--sheet", 6, "--image-size", 130)
        assert drawn["frames"] == [10, 31, 52, 72, 93, 114]
        sheet = picture(drawn["path"])
        assert sheet.shape == (2 * 130 + 3 * GAP_PX, 3 * 105 + 4 * GAP_PX, 3)
        frames = sorted((phoenix_root / CLIP).iterdir())
        for index, position in enumerate(drawn["frames"]):
            top = GAP_PX + (index // 3) * (130 + GAP_PX)
            left = GAP_PX + (index % 3) * (105 + GAP_PX)
            tile = sheet[top : top + 130, left : left + 105].astype(int)
            own = cv2.resize(picture(str(frames[position])), (105, 130), interpolation=cv2.INTER_AREA)
            assert np.median(np.abs(tile - own)) < 3

    def test_an_unreadable_frame_cannot_be_asked_for(self, tmp_path, fails, phoenix_root):
        copy = tmp_path / "copy"
        shutil.copytree(phoenix_root / CLIP, copy / CLIP)
        name = sorted((copy / CLIP).iterdir())[4]
        name.write_bytes(b"no picture")
        assert "frame 4 cannot be read" in fails(CLIP, "--frames", copy, "--frame", 4)

    def test_frames_of_another_clip_are_refused(self, tmp_path, fails, phoenix_root):
        copy = tmp_path / "copy"
        shutil.copytree(phoenix_root / CLIP, copy / CLIP)
        sorted((copy / CLIP).iterdir())[0].unlink()
        message = fails(CLIP, "--frames", copy, "--video", "mp4")
        assert "was 'images0001.png' when it was extracted" in message
        assert not list((tmp_path / "to").glob("*.mp4"))


def test_a_clip_that_is_a_part_of_its_input_is_drawn_on_that_part(
    tmp_path, shared_clips, phoenix_root, capsys
):
    whole = split_rows(expected(shared_clips), 10)
    piece = dataclasses.replace(
        whole[9], first_frame=0, parts={p: a.copy() for p, a in whole[9].parts.items()}
    )  # frames 90 to 99
    part = Clip("part", str(phoenix_root / CLIP), "frames", start_frame=90, end_frame=100)
    dataset = Dataset(str(tmp_path / "out"))
    dataset.create({"engine": "any", "static": False}, "x", {})
    dataset.write_plan(Plan((part,), (0,)))
    made = Provenance("any", "1", "x", "cpu", 1, 1.0, 1.0, 1.0, "here", "f")
    write_shard(dataset.store, 0, None, POINTS, [[encode(part, piece, made)]])
    options = ["--frame", "3", "--image-size", "260", "--to", str(tmp_path)]
    assert main(["draw", dataset.store.location, "part", *options]) == 0
    shown = picture(capsys.readouterr().out.strip()).astype(int)
    frames = sorted((phoenix_root / CLIP).iterdir())
    apart = [np.median(np.abs(shown - picture(str(frames[index])))) for index in (3, 93)]
    assert apart[1] == 0 < apart[0]


class TestAgainst:
    def test_both_stand_beside_each_other_with_the_difference(self, draw, static_dataset, shared_clips):
        arrays = np.load(shared_clips / "phoenix_like/expected/bsl_demo.npz")
        other = static_dataset.store.location
        (drawn,) = draw(CLIP, "--on", "black", "--frame", 30, "--against", other, "--image-size", 260)
        shown = picture(drawn["path"])
        assert shown.shape == (260, 3 * 210 + 2 * GAP_PX, 3)
        for part, where in (("pose", slice(0, 33)), ("left_hand", slice(501, 522))):
            apart = (arrays["tracking"][30, where] - arrays["static"][30, where])[:, :2] * SIZE_PX
            assert drawn["difference"][part] == pytest.approx(np.linalg.norm(apart, axis=1).mean(), abs=0.01)
        first, second, third = (shown[:, k * (210 + GAP_PX) : k * (210 + GAP_PX) + 210] for k in range(3))
        assert share_of(COLOURS_RGB["left_hand"], first) > 0.002
        assert share_of(COLOURS_RGB["left_hand"], second) > 0.002
        assert share_of(APART_RGB, third, 60) > 0.001
        assert share_of(APART_RGB, first, 60) == share_of(APART_RGB, second, 60) == 0

    def test_an_extraction_does_not_differ_from_itself(self, draw, real_dataset):
        (drawn,) = draw(
            CLIP, "--on", "black", "--video", "mp4", "--every", 25, "--against", real_dataset.store.location
        )
        assert drawn["difference"]
        assert max(drawn["difference"].values()) == 0

    def test_a_clip_that_the_other_lacks(self, fails, tmp_path, shared_clips):
        other = make_dataset(tmp_path / "other", shared_clips)
        shutil.rmtree(tmp_path / "other/clips/split=dev")
        message = fails("dev/french_a1", "--on", "black", "--against", other.store.location)
        assert "'dev/french_a1': not done yet" in message

    def test_no_clip_in_common(self, fails, tmp_path, shared_clips):
        other = make_dataset(tmp_path / "other", shared_clips)
        for split in ("dev", "test"):
            shutil.rmtree(tmp_path / f"other/clips/split={split}")
        message = fails(
            "--num-samples", 2, "--splits", "dev", "--on", "black", "--against", other.store.location
        )
        assert "have no clip in common" in message


class TestSamples:
    def test_individual_combined_and_grid(self, draw, phoenix_root):
        made = draw("--num-samples", 2, "--seed", 1, "--frames", phoenix_root, "--image-size", 200)
        combined = [drawn for drawn in made if drawn["kind"] == "frame"]
        assert len({drawn["clips"][0] for drawn in combined}) == 2
        assert all(picture(drawn["path"]).shape == (200, 162, 3) for drawn in combined)
        parts = [drawn for drawn in made if drawn["kind"] == "part"]
        assert all(picture(drawn["path"]).shape == (200, 200, 3) for drawn in parts)
        for drawn in parts:
            part, shown = (
                drawn["path"].removesuffix(".png").rpartition("-")[2],
                picture(drawn["path"]).astype(int),
            )
            if part == "pose":  # which may be faint
                assert (shown[:, :, 1] > shown[:, :, [0, 2]].max(axis=2) + 20).mean() > 0.002
            else:
                assert share_of(COLOURS_RGB[part], shown, 40) > 0.002
        grids = [drawn for drawn in made if drawn["kind"] == "grid"]
        assert [grid["clips"] for grid in grids] == [[drawn["clips"][0] for drawn in combined]]
        assert picture(grids[0]["path"]).shape == (200 + 2 * GAP_PX, 2 * 162 + 3 * GAP_PX, 3)

    def test_the_seed_repeats_a_sample_and_another_differs(self, draw):
        def chosen(seed: int) -> list[tuple[str, int]]:
            made = draw("--num-samples", 3, "--seed", seed, "--on", "black", "--no-individual", "--no-grid")
            assert {drawn["kind"] for drawn in made} == {"frame"}
            return [(drawn["clips"][0], drawn["frames"][0]) for drawn in made]

        assert chosen(0) == chosen(0)
        assert len({tuple(chosen(seed)) for seed in range(4)}) > 1

    def test_samples_are_of_the_splits_asked_for_and_as_many_as_there_are(self, draw):
        made = draw(
            "--num-samples", 99, "--splits", "dev,test", "--on", "black", "--no-individual", "--no-combined"
        )
        assert [(drawn["kind"], drawn["clips"]) for drawn in made] == [
            ("grid", ["dev/french_a1", "test/squats"])
        ]

    def test_a_clip_that_failed_is_no_sample(self, draw):
        for seed in range(4):
            made = draw(
                "--num-samples", 9, "--seed", seed, "--on", "black", "--no-individual", "--no-combined"
            )
            assert len(made[0]["clips"]) == 4

    def test_samples_as_videos(self, draw):
        made = draw("--num-samples", 2, "--on", "black", "--video", "mp4", "--every", 20, "--image-size", 64)
        assert [drawn["kind"] for drawn in made] == ["video", "video"]
        assert all(len(video(drawn["path"])) == len(drawn["frames"]) for drawn in made)


def test_without_json_the_paths_are_printed(real_dataset, tmp_path, capsys):
    assert main(["draw", real_dataset.store.location, CLIP, "--on", "black", "--to", str(tmp_path)]) == 0
    (path,) = capsys.readouterr().out.split()
    assert os.path.isfile(path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "expected a CLIP or --num-samples N, found neither"),
        ([CLIP, "--num-samples", "2"], "found both"),
        (["--num-samples", "0"], "--num-samples must be 1 or more, found 0"),
        (["--num-samples", "2", "--splits", "trian"], "no clip of split trian"),
        (["--num-samples", "2", "--frame", "3"], "--frame is for one CLIP"),
        (
            ["--num-samples", "1", "--on", "black", "--no-individual", "--no-combined", "--no-grid"],
            "nothing is left",
        ),
        (["--num-samples", "1", "--seed", "-1"], "--seed must be 0 or more"),
        (["train/nobody"], "no such clip was planned"),
        (["train/lost"], "failed: broken"),
        ([CLIP, "--video", "avi"], "--video must be mp4, gif, webp, found 'avi'"),
        ([CLIP, "--video", "mp4", "--sheet", "3"], "one of --frame, --video and --sheet"),
        ([CLIP, "--video", "mp4", "--every", "0"], "--every must be 1 or more"),
        ([CLIP, "--every", "2"], "--every is for --video"),
        ([CLIP, "--sheet", "0"], "--sheet must be 1 or more"),
        ([CLIP, "--on", "white"], "--on must be 'frames' or 'black'"),
        ([CLIP, "--on", "black", "--frames", "/in"], "--frames is for --on frames"),
        ([CLIP, "--splits", "dev"], "--splits: for samples of the whole data set, found the CLIP"),
        ([CLIP, "--seed", "0", "--no-grid"], "--seed and --no-grid: for samples"),
        ([CLIP, "--individual"], "--individual: for samples"),
        (
            ["--num-samples", "1", "--video", "gif", "--no-grid"],
            "--no-grid: for pictures of samples, found --v",
        ),
        (
            ["--num-samples", "1", "--sheet", "2", "--combined"],
            "--combined: for pictures of samples, found --s",
        ),
        ([CLIP, "--on", "black", "--image-size", "3"], "--image-size must be from 16"),
        ([CLIP, "--on", "black", "--frame", "125"], "it has frames 0 to 124"),
    ],
)
def test_wrong_use(arguments, text, fails):
    assert text in fails(*arguments)


def test_a_folder_that_cannot_be_written(real_dataset, tmp_path, capsys):
    (tmp_path / "file").touch()
    for options in (["--frame", "3"], ["--video", "mp4"], ["--sheet", "2"]):
        location = real_dataset.store.location
        assert main(["draw", location, CLIP, "--on", "black", *options, "--to", str(tmp_path / "file")]) == 2
        assert "cannot be written" in capsys.readouterr().err
