"""``landmarks datasets``, ``check-dataset``, ``annotate`` and ``extract --dataset``, as a user calls them."""

import csv
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from real_dataset import POINTS, make_dataset, real_landmarks
from small_datasets import MAKERS, copied_sample, how2sign, write

from extraction.clips import Clip
from extraction.sources.datasets.annotation import Annotation, Source
from extraction.sources.datasets.layout import Expected
from extraction.sources.datasets.matching import match
from extraction.sources.datasets.registry import LAYOUTS, find_dataset
from ray_jobs.annotate import matching
from ray_jobs.cli import main
from ray_jobs.datasets import census, store_annotations, told
from ray_jobs.job import Inputs, discover, resolved
from storage.annotations import read_about, read_annotations
from storage.dataset import Dataset
from storage.plan import Plan, tabulated
from storage.rows import Provenance, encode
from storage.running import JobMark
from storage.shards import write_shard


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Runs a command; returns exit code, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


class TestDatasets:
    def test_each_is_listed_with_its_layout_counts_and_terms(self, run):
        code, text, _ = run("datasets")
        assert code == 0
        for layout in LAYOUTS.values():
            assert layout.title in text
            assert layout.licence in text
            assert all(line in text for line in layout.lies)
        assert "train 7,096 (827,354 frames), dev 519 (55,775 frames), test 642 (64,627 frames)" in text

    def test_as_json(self, run):
        listed = {value["name"]: value for value in json.loads(run("datasets", "--json")[1])}
        assert list(listed) == list(LAYOUTS)
        assert listed["phoenix-2014"]["expected"]["dev"] == {"clips": 540, "frames": None}
        assert sum(of["frames"] for of in listed["phoenix-2014-t"]["expected"].values()) == 947_756


class TestCheckDataset:
    @pytest.mark.parametrize("name", MAKERS)
    def test_it_compares_each_with_what_it_should_hold(self, run, tmp_path, shared_clips, name):
        root = MAKERS[name](tmp_path, shared_clips)
        code, text, _ = run("check-dataset", name, root)
        assert code == 1
        assert text.rstrip().endswith("not whole")
        result = json.loads(run("check-dataset", "auto", root, "--json")[1])
        assert (result["dataset"], result["whole"]) == (name, False)
        discovery = match(find_dataset(name, str(root)))
        assert {h["clip_id"] for h in result["holes"]} == {h.clip_id for h in discovery.annotated.holes}
        on_disk = sum(split["on_disk"] for split in result["splits"])
        assert on_disk == len(discovery.clips) > 0
        for split in result["splits"]:
            expected = LAYOUTS[name].expected.get(split["split"], Expected())
            assert (split["expected_clips"], split["expected_frames"]) == (expected.clips, expected.frames)

    def test_holes_are_named(self, run, tmp_path, shared_clips):
        text = run("check-dataset", "phoenix-2014-t", MAKERS["phoenix-2014-t"](tmp_path, shared_clips))[1]
        assert "5 annotated clips, 4 of them on the disk" in text
        for line in (
            "missing: 1 (test/gone)",
            "unannotated: 1 (train/stray)",
            "annotated-twice: 1 (train/wave)",
        ):
            assert line in text

    def test_whole_is_0(self, run, tmp_path, shared_clips):
        root = copied_sample(tmp_path, shared_clips)
        layout = LAYOUTS["phoenix-2014-t"]
        counts = {"train": Expected(2, 183), "dev": Expected(1, 62), "test": Expected(1, 65)}
        whole = census(
            match(find_dataset("auto", str(root))), layout.__class__(**{**fields(layout), "expected": counts})
        )
        assert [split.is_whole for split in whole] == [True, True, True]
        table = write(tmp_path / "said.csv", "clip_id,gloss\ntrain/wave,A\n")
        features = root / "features/fullFrame-210x260px"
        code, text, _ = run("check-dataset", "frames", features, "--annotations", table)
        assert (code, text.splitlines()[-1]) == (0, "whole")
        (features / "dev/french_a1/images0062.png").unlink()
        short = census(
            match(find_dataset("auto", str(root))), layout.__class__(**{**fields(layout), "expected": counts})
        )
        assert [split.is_whole for split in short] == [True, False, True]

    def test_wrong_use(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        for arguments, words in {
            ("phoenix-2014-t", tmp_path / "empty"): "expected PHOENIX-2014-T.train.corpus.csv",
            ("phoenix-2014-t", tmp_path / "none"): "found nothing there",
            ("phoenix", tmp_path): "expected phoenix-2014-t, ",
            ("auto", tmp_path / "empty"): "is none of the data sets",
        }.items():
            code, text, errors = run("check-dataset", *arguments)
            assert (code, text) == (2, "")
            assert words in errors


def fields(layout) -> dict[str, object]:
    return {name: getattr(layout, name) for name in layout.__slots__}


class TestInputs:
    def test_auto_becomes_a_name(self, tmp_path, shared_clips):
        root = MAKERS["autsl"](tmp_path, shared_clips)
        inputs = resolved(Inputs(frames=str(root), dataset="auto"))
        assert inputs.dataset == "autsl"
        assert len(discover(inputs).clips) == 2
        assert len(discover(resolved(Inputs(frames=str(root), dataset="auto", unannotated=True))).clips) == 3

    def test_options_that_do_not_go_together(self, run, tmp_path):
        for arguments, words in {
            ("--annotations", tmp_path, tmp_path, tmp_path / "out"): "go with --dataset NAME",
            ("--unannotated", tmp_path, tmp_path / "out"): "go with --dataset NAME",
            (
                "--dataset",
                "auto",
                "--manifest",
                "x.csv",
                tmp_path / "out",
            ): "takes the folder that was unpacked",
            ("--dataset", "wlasl", tmp_path, tmp_path / "out"): "expected WLASL_v0.3.json",
            ("--dataset", "wlasl", tmp_path / "none", tmp_path / "out"): "found nothing there",
        }.items():
            code, _, errors = run("extract", "--engine", "segmenter", *arguments)
            assert code == 2
            assert words in errors
            assert not (tmp_path / "out").exists()

    def told(self, found, plan):
        return told(found.annotated, tabulated(found.clips), plan, plan.shards)

    def test_what_is_told_of_changed_annotations(self, tmp_path, shared_clips):
        root = MAKERS["phoenix-2014-t"](tmp_path, shared_clips)
        found = discover(Inputs(frames=str(root), dataset="phoenix-2014-t"))
        plan = Plan(found.clips, tuple(range(len(found.clips))))
        assert not any("changed since" in line for line in self.told(found, plan))
        (path,) = root.rglob("*.dev.corpus.csv")
        path.write_text(path.read_text().replace("SAMSTAG", "SONNTAG"))
        again = discover(Inputs(frames=str(root), dataset="phoenix-2014-t"))
        assert any(
            "1 finished clips have changed since (dev/french_a1)" in line for line in self.told(again, plan)
        )
        assert [clip.fingerprint for clip in again.clips] == [clip.fingerprint for clip in found.clips]
        assert not any(
            "changed since" in line for line in told(again.annotated, tabulated(again.clips), plan, ())
        ), "clips that wait will be extracted with what is said now"

    def test_ranges_are_counted(self, tmp_path, shared_clips):
        found = discover(Inputs(frames=str(how2sign(tmp_path, shared_clips, uncut=True)), dataset="how2sign"))
        assert "2 clips are ranges of their inputs" in self.told(found, Plan())


class TestAnnotate:
    @pytest.fixture
    def dataset(self, real_dataset: Dataset, tmp_path: Path) -> Dataset:
        shutil.copytree(real_dataset.store.root, tmp_path / "out")
        return Dataset(str(tmp_path / "out"))

    @pytest.fixture
    def root(self, tmp_path: Path, shared_clips: Path) -> Path:
        root = copied_sample(tmp_path, shared_clips)
        for path in root.rglob("*.corpus.csv"):
            path.write_text(path.read_text().replace("HALLO", "SERVUS").replace("Signer04", "Signer09"))
        return root

    def test_columns_are_brought_up_to_date(self, run, dataset, root):
        code, text, _ = run("annotate", dataset.store.root, root, "--dataset", "phoenix-2014-t")
        assert code == 0
        assert "4 clips of" in text
        assert "1 are not; 2 finished clips changed, in 2 shards" in text
        row = dataset.read_clip("train/wave").to_pylist()[0]
        assert (row["gloss"], row["signer"]) == ("__ON__ SERVUS null GRAD", "Signer02")
        assert dataset.read_clip("test/squats")["signer"].to_pylist() == ["Signer09"]
        about = read_about(dataset.store)
        assert (about.name, about.annotated, about.found, about.holes) == ("phoenix-2014-t", 4, 4, {})
        assert JobMark(dataset.store).expect_free() is None
        again = json.loads(run("annotate", dataset.store.root, root, "--json")[1])
        assert (again["dataset"], again["clips"], again["shards"], again["matched"]) == (
            "phoenix-2014-t",
            0,
            0,
            4,
        )

    def test_a_file_uri_is_a_path(self, run, dataset, root):
        assert run("annotate", dataset.store.root, f"file://{root}")[0] == 0
        given = f"file://{root / 'annotations'}"
        assert run("annotate", dataset.store.root, "--annotations", given)[0] == 0
        assert run("check-dataset", "auto", f"file://{root}") == run("check-dataset", "auto", root)

    def test_frames_need_not_be_there(self, run, dataset, root):
        shutil.rmtree(root / "features")
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert dataset.read_clip("train/wave")["gloss"].to_pylist() == ["__ON__ SERVUS null GRAD"]
        assert run("annotate", dataset.store.root, "--annotations", root / "annotations")[0] == 0

    def test_clips_of_before_are_known_by_their_input(self, run, tmp_path, shared_clips):
        """Extracted from videos without --dataset, under ids that the data set does not use."""
        root = MAKERS["autsl"](tmp_path / "in", shared_clips)
        dataset = make_dataset(tmp_path / "out", shared_clips)
        plan = dataset.plan()
        path = str(root / "train/signer0_sample1_color.mp4")
        moved = [
            type(c)(c.clip_id, path, "video", c.split) if c.clip_id == "train/wave" else c for c in plan.clips
        ]
        dataset.write_plan(Plan(tuple(moved), plan.shards))
        code, _, errors = run("annotate", dataset.store.root, root, "--dataset", "autsl")
        assert code == 0, errors
        row = dataset.read_clip("train/wave").to_pylist()[0]
        assert (row["label"], row["gloss"], row["signer"]) == ("41", "gel, git", "signer0")
        assert dataset.read_clip("dev/french_a1")["signer"].to_pylist() == ["Signer03"]

    def test_a_table_of_ones_own(self, run, dataset, tmp_path):
        table = tmp_path / "said.csv"
        with open(table, "w", newline="") as file:
            csv.writer(file).writerows([["clip_id", "text", "label"], ["train/wave", 'a "b", null ', "7"]])
        code, _, errors = run("annotate", dataset.store.root, "--dataset", "frames", "--annotations", table)
        assert code == 0, errors
        row = dataset.read_clip("train/wave").to_pylist()[0]
        assert (row["text"], row["label"]) == ('a "b", null ', "7")
        assert row["gloss"] == "__ON__ HALLO null GRAD", "a column the table does not have stays as it is"

    def test_an_end_that_several_clips_have_is_none_of_them(self, run, dataset, tmp_path):
        plan = dataset.plan()
        twin = [replace(c, clip_id="dev/wave") if c.clip_id == "dev/french_a1" else c for c in plan.clips]
        dataset.write_plan(Plan(twin, plan.shards))
        table = write(tmp_path / "said.csv", "clip_id,gloss\nwave,A\nsquats,B\n")
        options = [dataset.store.root, "--dataset", "frames", "--annotations", table]
        told = json.loads(run("annotate", *options, "--json")[1])
        assert (told["matched"], told["found_twice"], told["holes"]) == (1, ["wave"], {"found-twice": 1})
        assert dataset.read_clip("train/wave")["gloss"].to_pylist() == ["__ON__ HALLO null GRAD"]
        assert dataset.read_clip("test/squats")["gloss"].to_pylist() == ["B"]
        assert read_about(dataset.store).examples["found-twice"] == ["wave"]
        text = run("annotate", *options)[1]
        assert "1 annotations fit several clips (wave): none of them is annotated: write the whole id" in text
        write(table, "clip_id,gloss\nwave,A\n")
        code, _, errors = run("annotate", *options)
        assert code == 2
        assert "'wave' (/in/dev/french_a1; /in/train/wave): write the clips' whole ids" in errors

    def test_what_was_missing_on_the_disk_stays_told(self, run, tmp_path, shared_clips):
        root = MAKERS["phoenix-2014-t"](tmp_path / "in", shared_clips)
        dataset = make_dataset(tmp_path / "out", shared_clips)
        store_annotations(dataset, discover(Inputs(frames=str(root), dataset="phoenix-2014-t")))
        before = read_about(dataset.store)
        assert before.holes == {"annotated-twice": 1, "missing": 1, "unannotated": 1}
        shutil.rmtree(root / "PHOENIX-2014-T/features")
        assert run("annotate", dataset.store.root, root)[0] == 0
        after = read_about(dataset.store)
        assert (after.holes, after.examples, after.found) == (before.holes, before.examples, before.found)
        assert after.left_out == 1
        (path,) = root.rglob("*.test.corpus.csv")
        path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert read_about(dataset.store).holes == {"annotated-twice": 1, "unannotated": 1}

    def test_another_split_is_told_and_not_made(self, run, dataset, root):
        manual = root / "annotations/manual"
        dev, test = (manual / f"PHOENIX-2014-T.{split}.corpus.csv" for split in ("dev", "test"))
        table = write(root.parent / "said.csv", "clip_id,split,gloss\ndev/french_a1,train,X\n")
        result = json.loads(
            run("annotate", dataset.store.root, "--dataset", "frames", "--annotations", table, "--json")[1]
        )
        assert result["other_split"] == ["dev/french_a1"]
        assert dataset.clips(["dev"]).to_table(columns=["gloss"]).to_pylist() == [{"gloss": "X"}]
        assert dev.exists()
        assert test.exists()

    def test_refused_while_a_job_runs(self, run, dataset, root):
        mark = JobMark(dataset.store)
        mark.take()
        code, _, errors = run("annotate", dataset.store.root, root)
        assert code == 2
        assert "another job works on it" in errors
        assert not os.path.exists(dataset.store.full("annotations.parquet"))
        assert dataset.read_clip("train/wave")["gloss"].to_pylist() == ["__ON__ HALLO null GRAD"]
        mark.release()
        assert run("annotate", dataset.store.root, root)[0] == 0

    def test_wrong_use(self, run, dataset, root, tmp_path, shared_clips):
        other = MAKERS["wlasl"](tmp_path / "other", shared_clips)
        (tmp_path / "empty").mkdir()
        for arguments, words in {
            (dataset.store.root,): "expected ROOT",
            (tmp_path / "empty", root): "expected a landmark data set",
            (dataset.store.root, other): "none of its 5 clips",
            (dataset.store.root, tmp_path / "empty"): "is none of the data sets",
            (dataset.store.root, tmp_path / "none"): "found nothing there",
            (dataset.store.root, root, "--dataset", "frames"): "found no annotation",
        }.items():
            code, text, errors = run("annotate", *arguments)
            assert (code, text) == (2, "")
            assert words in errors
        assert JobMark(dataset.store).expect_free() is None


def extracted(out: Path, inputs: Inputs, clips: Path) -> Dataset:
    """A data set with rows of all clips of an input, as a job would plan them; their landmarks are one's."""
    array = np.load(clips / "phoenix_like/expected/wave.npz")["tracking"][:4]
    found, dataset = discover(inputs), Dataset(str(out))
    options = {"engine": "holistic", "fps": 25.0}
    dataset.create({**options, "dataset": inputs.dataset} if inputs.dataset else options, "0f", {})
    dataset.write_plan(Plan(found.clips, tuple(range(len(found.clips)))))
    made = Provenance("holistic", "0.10.21", "0f", "cpu", 1, 9.0, 1.0, 7.0, "host", "f")
    for shard, clip in enumerate(found.clips):
        rows = [[encode(clip, real_landmarks(array), made)]]
        write_shard(dataset.store, shard, clip.split or "none", POINTS, rows)
    if inputs.dataset:
        store_annotations(dataset, found)
    return dataset


@pytest.mark.once
@pytest.mark.parametrize("turn", [1, -1])
def test_of_several_copies_the_first_in_natural_order_and_it_is_told(turn):
    """Not the first of the plan, where long clips stand first."""
    said = [Annotation(name, (Source(name),), "train") for name in ("S1", "S2", "S3")]
    ids = ["frames_9/S1", "frames_10/S1", "S2", "copy/S2", "copy/deep/S3", "other/S3"]
    clips = [Clip(clip_id, f"/d/{clip_id}", "frames") for clip_id in ids][::turn]
    matched, holes = matching(clips, said, LAYOUTS["csl-daily"])
    assert {clip_id: a.clip_id for clip_id, a in matched.items()} == {
        "frames_9/S1": "S1",
        "S2": "S2",
        "other/S3": "S3",
    }
    assert [(hole.kind, hole.clip_id, hole.detail) for hole in holes] == [
        ("found-twice", "S1", "/d/frames_9/S1; /d/frames_10/S1"),
        ("found-twice", "S2", "/d/S2; /d/copy/S2"),
        ("found-twice", "S3", "/d/other/S3; /d/copy/deep/S3"),
    ]
    matched, holes = matching(clips, said, LAYOUTS["frames"])
    assert list(matched) == ["S2"], "named in full"
    assert [hole.clip_id for hole in holes] == ["S1", "S3"]


@pytest.mark.once
class TestIdsOfAnnotations:
    """OUT/annotations.parquet joins with the rows, whatever their ids are, and keeps the data set's own."""

    @staticmethod
    def joined(dataset: Dataset) -> dict[str, tuple[str | None, str | None, str | None]]:
        """Clip id of each row to the data set's own id, and the glosses of the row and of the table."""
        said = {row["clip_id"]: row for row in read_annotations(dataset.store).to_pylist()}
        rows = dataset.clips().to_table(columns=["clip_id", "uri", "gloss"]).to_pylist()
        rows = [row for row in rows if not row["clip_id"].endswith("_depth")]
        for row in rows:
            assert said[row["clip_id"]]["uri"] == row["uri"]
        return {
            r["clip_id"]: (said[r["clip_id"]]["dataset_id"], r["gloss"], said[r["clip_id"]]["gloss"])
            for r in rows
        }

    @pytest.mark.parametrize("are_frames_there", [True, False])
    @pytest.mark.parametrize("name", MAKERS)
    def test_extracted_as_any_folder(self, run, tmp_path, shared_clips, name, are_frames_there):
        root = MAKERS[name](tmp_path / "in", shared_clips)
        found = match(find_dataset(name, str(root)))
        dataset = extracted(tmp_path / "out", Inputs(frames=str(root)), shared_clips)
        if not are_frames_there:
            for path in [
                *root.rglob("*.png"),
                *root.rglob("*.jpg"),
                *root.rglob("*.mp4"),
                *root.rglob("*.MOV"),
            ]:
                path.unlink()
        code, _, errors = run("annotate", dataset.store.root, root)
        assert code == 0, errors
        # A whole video is not the clip that is a part of it; depth is no clip at all.
        ids = {clip.uri: clip.clip_id for clip in found.clips if not clip.is_part}
        unannotated = {hole.detail for hole in found.annotated.holes if hole.kind == "unannotated"}
        said = {clip.clip_id: clip.gloss for clip in found.clips}
        uris = {clip.clip_id: clip.uri for clip in dataset.plan().clips}
        table = {row["clip_id"]: row for row in read_annotations(dataset.store).to_pylist()}
        assert {row["dataset_id"] for row in table.values()} - {None} == {
            a.clip_id for a in found.annotated.annotations
        }
        for clip_id, uri in uris.items():
            own = ids.get(uri)
            row = dataset.read_clip(clip_id).to_pylist()[0]
            assert row["gloss"] == (said[own] if own else None)
            if own or (are_frames_there and uri in unannotated):
                assert (table[clip_id]["dataset_id"], table[clip_id]["gloss"]) == (own, row["gloss"])
                assert table[clip_id]["uri"] == uri
            else:
                assert clip_id not in table
        missing = {row["dataset_id"] for row in table.values() if "missing" in row["holes"]}
        assert missing == (
            {h.clip_id for h in found.annotated.holes if h.kind == "missing"} if are_frames_there else set()
        )
        seen = {p: p.stat().st_mtime_ns for p in Path(dataset.store.root).rglob("*") if p.is_file()}
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert {p: p.stat().st_mtime_ns for p in Path(dataset.store.root).rglob("*") if p.is_file()} == seen

    @pytest.mark.parametrize("name", MAKERS)
    def test_extracted_by_name(self, tmp_path, shared_clips, name):
        root = MAKERS[name](tmp_path / "in", shared_clips)
        dataset = extracted(
            tmp_path / "out", Inputs(frames=str(root), dataset=name, unannotated=True), shared_clips
        )
        named = {a.clip_id for a in match(find_dataset(name, str(root))).annotated.annotations}
        for clip_id, (own, of_row, of_table) in self.joined(dataset).items():
            assert own == (clip_id if clip_id in named else None)
            assert of_row == of_table

    def test_a_whole_video_is_none_of_its_sentences(self, run, tmp_path, shared_clips):
        root = how2sign(tmp_path / "in", shared_clips, uncut=True)
        dataset = extracted(tmp_path / "out", Inputs(frames=str(root)), shared_clips)
        code, _, errors = run("annotate", dataset.store.root, root)
        assert code == 2
        assert "none of its 1 clips" in errors
        assert "A whole video is not an annotated part of it" in errors
        other = extracted(tmp_path / "cut", Inputs(frames=str(root), dataset="how2sign"), shared_clips)
        (path,) = root.rglob("how2sign_realigned_train.csv")
        path.write_text(path.read_text().replace("\t0.8\t1.2\t", "\t0.7\t1.2\t"))
        told = json.loads(run("annotate", other.store.root, root, "--json")[1])
        assert told["other_range"] == ["--7E2sU6zP4_11-5-rgb_front"]
        assert "1 clips are now another range (--7E2sU6zP4_11" in run("annotate", other.store.root, root)[1]

    def test_what_nobody_annotated_then_and_somebody_does_now(self, run, tmp_path, shared_clips):
        root = MAKERS["autsl"](tmp_path / "in", shared_clips)
        dataset = extracted(tmp_path / "out", Inputs(frames=str(root)), shared_clips)
        assert run("annotate", dataset.store.root, root)[0] == 0
        own = "test/signer9_sample1"
        assert self.joined(dataset)[f"{own}_color"] == (None, None, None)
        write(root / "test_labels.csv", "signer9_sample1,0\n")
        for path in root.rglob("*.mp4"):
            path.unlink()
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert self.joined(dataset)[f"{own}_color"] == (own, "abla", "abla")
        assert "unannotated" not in read_about(dataset.store).holes

    def test_another_length_is_that_of_the_annotation_of_today(self, run, tmp_path, shared_clips):
        root = MAKERS["csl-daily"](tmp_path / "in", shared_clips)
        inputs = Inputs(frames=str(root), dataset="csl-daily")
        dataset = extracted(tmp_path / "out", inputs, shared_clips)
        assert read_about(dataset.store).examples["length"] == ["S000007_P0003_T00"]
        path = root / "sentence_label/csl2020ct_v2.pkl"
        content = pickle.loads(path.read_bytes())
        content["info"][1]["length"] = 6
        path.write_bytes(pickle.dumps(content))
        shutil.rmtree(root / "sentence")
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert "length" not in read_about(dataset.store).holes

    def test_a_fault_of_the_annotation_goes_with_it(self, run, tmp_path, shared_clips):
        root = MAKERS["wlasl"](tmp_path / "in", shared_clips)
        path = root / "WLASL_v0.3.json"
        right = path.read_text()
        path.write_text(right.replace('"frame_end": 30', '"frame_end": 5'))
        inputs = Inputs(frames=str(root), dataset="wlasl")
        dataset = extracted(tmp_path / "out", inputs, shared_clips)
        assert read_about(dataset.store).examples["no-range"] == ["00003"]
        path.write_text(right)
        shutil.rmtree(root / "videos")
        assert run("annotate", dataset.store.root, root)[0] == 0
        assert "no-range" not in read_about(dataset.store).holes


@pytest.mark.serial
def test_phoenix_from_the_folder_to_its_annotations(landmarks, shared_clips, phoenix_expected, tmp_path):
    """The whole job on the sample data set, a later change of its annotations, and a range of a video."""
    pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe")
    from bare_loop import assert_same_bits, bare_landmarks

    from storage.rows import decode

    root, out = copied_sample(tmp_path, shared_clips), tmp_path / "out"
    (path,) = root.rglob("*.test.corpus.csv")
    path.write_text(path.read_text() + "gone|gone/1/*.png|-1|-1|Signer04|WEG|fort\n")
    done = landmarks("extract", "--dataset", "auto", tmp_path / "PHOENIX-2014-T", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "phoenix-2014-t: PHOENIX-2014-T.train.corpus.csv and 2 more in" in done.stdout
    assert "missing: 1 (test/gone)" in done.stdout
    assert "4 clips done (dev 1, test 1, train 2), 0 failed, 0 to do" in done.stdout
    dataset = Dataset.open(str(out))
    rows = {c: dataset.read_clip(c) for c in ("train/bsl_demo", "train/wave", "dev/french_a1", "test/squats")}
    assert rows["dev/french_a1"].to_pylist()[0]["text"] == 'am samstag weht der "wind" .'
    assert rows["train/wave"]["gloss"].to_pylist() == ["__ON__ HALLO null GRAD"]
    assert rows["train/wave"]["signer"].to_pylist() == ["Signer02"]
    wave = root / "features/fullFrame-210x260px/train/wave"
    assert_same_bits(decode(rows["train/wave"]), bare_landmarks(wave))
    assert len(decode(rows["train/bsl_demo"])) == len(np.load(phoenix_expected / "bsl_demo.npz")["tracking"])
    assert read_annotations(dataset.store)["uri"].null_count == 1
    shown = json.loads(landmarks("progress", out, "--json").stdout)
    assert shown["annotations"]["holes"] == {"missing": 1}
    assert "missing 1 (test/gone)" in landmarks("progress", out).stdout

    (path,) = root.rglob("*.dev.corpus.csv")
    path.write_text(path.read_text().replace("samstag", "sonntag"))
    again = landmarks("extract", "--dataset", "phoenix-2014-t", root, out)
    assert "to do: 0 clips in 0 shards" in again.stdout
    assert "1 finished clips have changed since (dev/french_a1)" in again.stdout
    assert landmarks("annotate", out, root).returncode == 0
    assert dataset.read_clip("dev/french_a1").to_pylist()[0]["text"] == 'am sonntag weht der "wind" .'
    assert "changed since" not in landmarks("extract", "--dataset", "phoenix-2014-t", root, out).stdout
    plain = landmarks("extract", root / "features/fullFrame-210x260px", out)
    assert plain.returncode == 2
    assert "dataset: there 'phoenix-2014-t', now None" in plain.stderr
