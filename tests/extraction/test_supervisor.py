"""Real children with the real detector, lost in every way that native code knows."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from bare_loop import assert_same_bits, bare_landmarks

from extraction.clips import Clip
from extraction.detectors import DetectorOptions, create_detector
from extraction.errors import ClipError, JobError
from extraction.extract import ClipExtraction
from extraction.frames import FrameOptions
from extraction.landmarks import FrameStatus
from extraction.memory import rss_mb
from extraction.policy import Policy, remedies
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess, Extraction
from ray_jobs.demo_clips import make_demo_clips

FAULTY = DetectorOptions(engine="faulty_engine:make")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    make_demo_clips(str(folder), num_frames=6)
    return folder


@pytest.fixture(scope="module")
def clips(root: Path) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in discover_tree(str(root)).clips}


@pytest.fixture(scope="module")
def expected(root: Path) -> dict[str, dict[str, np.ndarray]]:
    return {name: bare_landmarks(root / name) for name in ("train/zoom", "dev/pan")}


def only(extraction: Extraction):
    (piece,) = extraction.pieces
    return piece


def set_faults(monkeypatch: pytest.MonkeyPatch, **faults: str) -> None:
    monkeypatch.setenv("FAULTS", json.dumps({name.replace("_", "/"): kind for name, kind in faults.items()}))


class TestUndisturbed:
    def test_landmarks_equal_a_fresh_detector_whatever_came_before(self, clips, expected):
        with DetectorProcess(DetectorOptions()) as detector:
            for name in ("train/zoom", "dev/pan", "train/zoom"):
                extraction = detector.extract(clips[name])
                assert_same_bits(only(extraction), expected[name])
                assert extraction.attempts == 1
                assert extraction.fingerprint == clips[name].fingerprint
                assert extraction.num_frames == 6
                assert 0 < extraction.times.detect_ms < extraction.times.extract_ms

    def test_one_child_serves_all_clips(self, clips):
        with DetectorProcess(DetectorOptions()) as detector:
            detector.extract(clips["train/zoom"])
            pid = detector.child_pid
            detector.extract(clips["dev/pan"])
            assert detector.child_pid == pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    def test_a_long_clip_comes_in_pieces_with_tracking_unbroken(self, clips, expected):
        with DetectorProcess(DetectorOptions(), max_frames_per_piece=4) as detector:
            pieces = list(detector.extract(clips["dev/pan"]).pieces)
        assert [(p.first_frame, len(p)) for p in pieces] == [(0, 4), (4, 2)]
        whole = np.concatenate([p.parts["pose"] for p in pieces])
        np.testing.assert_array_equal(whole, expected["dev/pan"]["pose"])
        assert pieces[1].timestamps_ms.tolist() == [160.0, 200.0]

    def test_progress_is_told_from_the_first_frame_on(self, clips):
        told: list[int] = []
        with DetectorProcess(DetectorOptions()) as detector:
            detector.extract(clips["train/zoom"], told.append)
        assert told[0] == 1

    def test_arrays_from_the_child_are_read_only(self, clips):
        with DetectorProcess(DetectorOptions()) as detector:
            piece = only(detector.extract(clips["train/zoom"]))
        with pytest.raises(ValueError, match="read-only"):
            piece.parts["pose"][0, 0, 0] = 0


class TestLost:
    @pytest.mark.parametrize(
        ("fault", "reason", "text"),
        [
            ("segv", "signal", "SIGSEGV"),
            ("exit", "exit", "exit code 7"),
            ("raise", "graph-poisoned", "Graph has errors: a calculator failed"),
            ("hang", "timeout", "no frame was finished for 2 s"),
        ],
    )
    def test_costs_the_clip_and_no_other(self, fault, reason, text, clips, expected, monkeypatch):
        set_faults(monkeypatch, train_zoom=fault)
        with DetectorProcess(FAULTY, policy=Policy(frame_timeout_s=2)) as detector:
            with pytest.raises(ClipError) as failed:
                detector.extract(clips["train/zoom"])
            assert failed.value.reason == reason
            assert failed.value.attempts == 2
            assert text in str(failed.value)
            assert_same_bits(only(detector.extract(clips["dev/pan"])), expected["dev/pan"])

    def test_the_last_lines_of_the_child_travel_with_the_failure(self, clips, monkeypatch):
        set_faults(monkeypatch, train_zoom="segv")
        with (
            DetectorProcess(FAULTY, policy=Policy(remedies=remedies(max_attempts=1))) as detector,
            pytest.raises(ClipError, match="about to commit segv"),
        ):
            detector.extract(clips["train/zoom"])

    def test_a_clip_that_survives_its_second_attempt_is_as_if_undisturbed(
        self, clips, expected, monkeypatch, tmp_path
    ):
        set_faults(monkeypatch, train_zoom=f"segv-once:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            extraction = detector.extract(clips["train/zoom"])
        assert extraction.attempts == 2
        assert extraction.retry_reasons == ("signal",)
        assert_same_bits(only(extraction), expected["train/zoom"])

    def test_a_child_killed_between_clips_costs_no_attempt(self, clips, expected):
        with DetectorProcess(DetectorOptions()) as detector:
            detector.extract(clips["train/zoom"])
            os.kill(detector.child_pid, signal.SIGKILL)
            time.sleep(0.2)
            extraction = detector.extract(clips["dev/pan"])
        assert extraction.attempts == 1
        assert_same_bits(only(extraction), expected["dev/pan"])

    def test_the_child_dies_with_its_parent_even_in_stuck_native_code(self, root, monkeypatch):
        set_faults(monkeypatch, train_zoom="hang")
        code = f"""
from extraction.detectors import DetectorOptions, create_detector
from extraction.sources import discover_tree
from extraction.supervisor import DetectorProcess
detector = DetectorProcess(DetectorOptions(engine="faulty_engine:make"))
detector.start()
print(detector.child_pid, flush=True)
detector.extract(discover_tree({str(root)!r}).clips[1])
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment
        ) as parent:
            child_pid = int(parent.stdout.readline())
            time.sleep(1.5)  # into the hang
            os.kill(child_pid, 0)
            parent.kill()
        deadline = time.monotonic() + 5
        while is_running(child_pid):
            assert time.monotonic() < deadline, "the child outlived its parent"
            time.sleep(0.05)


class TestMemory:
    def test_a_child_that_grows_during_a_clip_is_killed(self, clips, expected, monkeypatch):
        set_faults(monkeypatch, train_zoom="hog")
        with DetectorProcess(FAULTY, policy=Policy(max_worker_rss_mb=900)) as detector:
            with pytest.raises(ClipError, match=r"limit is 900 \(--max-worker-rss-mb\)") as failed:
                detector.extract(clips["train/zoom"])
            assert (failed.value.reason, failed.value.attempts) == ("memory", 2)
            assert_same_bits(only(detector.extract(clips["dev/pan"])), expected["dev/pan"])

    def test_a_kill_by_the_kernel_for_memory_is_told_as_such(self, clips, expected, monkeypatch, limited):
        set_faults(monkeypatch, train_zoom="hog")
        monkeypatch.setenv("CGROUP", str(limited))
        with DetectorProcess(FAULTY) as detector:
            with pytest.raises(ClipError, match="because memory ran out") as failed:
                detector.extract(clips["train/zoom"])
            assert (failed.value.reason, failed.value.attempts) == ("memory", 2)
            assert_same_bits(only(detector.extract(clips["dev/pan"])), expected["dev/pan"])

    @pytest.fixture
    def limited(self) -> Iterator[Path]:
        """A control group of 900 MiB of memory."""
        group = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
        group /= f"landmarks-test-{os.getpid()}"
        try:
            group.mkdir()
            limit = next(group / n for n in ("memory.limit_in_bytes", "memory.max") if (group / n).exists())
            limit.write_text(str(900 << 20))
        except (OSError, StopIteration):
            pytest.skip("no control group for memory can be made here")
        yield group
        deadline = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        group.rmdir()


class TestLadder:
    """What is done depends on what the words mean."""

    def test_a_lost_context_is_waited_out_in_the_same_process(self, clips, expected, monkeypatch, tmp_path):
        set_faults(monkeypatch, train_zoom=f"context-times:3:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            detector.start()
            pid = detector.child_pid
            extraction = detector.extract(clips["train/zoom"])
            assert detector.child_pid == pid
        assert (extraction.attempts, extraction.retry_reasons) == (4, ("context-lost",) * 3)
        assert_same_bits(only(extraction), expected["train/zoom"])
        assert detector.events == {"lost: context-lost": 3}

    def test_then_in_a_new_one(self, clips, expected, monkeypatch, tmp_path):
        set_faults(monkeypatch, train_zoom=f"context-times:4:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            detector.start()
            pid = detector.child_pid
            extraction = detector.extract(clips["train/zoom"])
            assert detector.child_pid != pid
        assert extraction.attempts == 5
        assert_same_bits(only(extraction), expected["train/zoom"])

    def test_then_the_clip_fails_and_the_next_one_does_not(self, clips, expected, monkeypatch):
        set_faults(monkeypatch, train_zoom="context")
        with DetectorProcess(FAULTY) as detector:
            with pytest.raises(ClipError, match="entering GL context") as failed:
                detector.extract(clips["train/zoom"])
            assert (failed.value.reason, failed.value.attempts) == ("context-lost", 5)
            assert_same_bits(only(detector.extract(clips["dev/pan"])), expected["dev/pan"])

    def test_a_poisoned_graph_is_made_again_in_the_same_process(self, clips, expected, monkeypatch, tmp_path):
        set_faults(monkeypatch, train_zoom=f"raise-once:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            detector.start()
            pid = detector.child_pid
            extraction = detector.extract(clips["train/zoom"])
            assert detector.child_pid == pid
        assert extraction.retry_reasons == ("graph-poisoned",)
        assert_same_bits(only(extraction), expected["train/zoom"])

    def test_a_detector_that_cannot_be_closed_is_left_to_its_process(
        self, clips, expected, monkeypatch, tmp_path
    ):
        set_faults(monkeypatch, train_zoom=f"raise-once:{tmp_path}/done")
        monkeypatch.setenv("CLOSES_AFTER_ERROR", "0")
        monkeypatch.setenv("CLOSE_FAULT", "hang")
        with DetectorProcess(FAULTY, policy=Policy(start_timeout_s=20)) as detector:
            detector.start()
            pid = detector.child_pid
            extraction = detector.extract(clips["train/zoom"])
            assert detector.child_pid != pid
        assert extraction.retry_reasons == ("graph-poisoned",)
        assert_same_bits(only(extraction), expected["train/zoom"])

    def test_words_nobody_knows_cost_a_new_process(self, clips, monkeypatch, tmp_path):
        set_faults(monkeypatch, train_zoom=f"unknown-once:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            detector.start()
            pid = detector.child_pid
            assert detector.extract(clips["train/zoom"]).retry_reasons == ("unknown",)
            assert detector.child_pid != pid

    def test_a_bug_of_ours_is_not_tried_again(self, clips, monkeypatch):
        set_faults(monkeypatch, train_zoom="caller")
        with DetectorProcess(FAULTY) as detector, pytest.raises(ClipError) as failed:
            detector.extract(clips["train/zoom"])
        assert (failed.value.reason, failed.value.attempts) == ("caller-bug", 1)

    def test_a_model_that_cannot_be_opened_stops_the_job(self, clips, monkeypatch):
        set_faults(monkeypatch, train_zoom="configuration")
        with DetectorProcess(FAULTY) as detector, pytest.raises(JobError, match="Unable to open file at"):
            detector.extract(clips["train/zoom"])

    def test_losses_before_the_detector_stands_are_told_apart(self, clips, monkeypatch, tmp_path):
        monkeypatch.setenv("STARTUP_FAULT", f"context-times:2:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            extraction = detector.extract(clips["train/zoom"])
        assert (extraction.attempts, extraction.retry_reasons) == (1, ("start:context-lost",) * 2)


class TestRefresh:
    def test_after_so_many_clips_the_same_process_makes_a_new_detector(self, clips, expected):
        with DetectorProcess(DetectorOptions(), policy=Policy(refresh_clips=2)) as detector:
            pids = set()
            for _ in range(5):
                assert_same_bits(only(detector.extract(clips["dev/pan"])), expected["dev/pan"])
                pids.add(detector.child_pid)
        assert len(pids) == 1
        assert detector.events == {"refreshed": 2}

    def test_after_so_long(self, clips):
        with DetectorProcess(DetectorOptions(), policy=Policy(refresh_minutes=0.02)) as detector:
            detector.extract(clips["dev/pan"])
            time.sleep(1.3)
            detector.extract(clips["dev/pan"])
        assert detector.events == {"refreshed": 1}

    def test_a_close_that_hangs_costs_the_process_and_no_clip(self, clips, expected, monkeypatch, tmp_path):
        monkeypatch.setenv("CLOSE_FAULT", f"hang-once:{tmp_path}/done")
        policy = Policy(refresh_clips=1, start_timeout_s=15)
        with DetectorProcess(FAULTY, policy=policy) as detector:
            detector.extract(clips["train/zoom"])
            pid = detector.child_pid
            extraction = detector.extract(clips["dev/pan"])
            assert detector.child_pid != pid
        assert (extraction.attempts, extraction.retry_reasons) == (1, ("start:timeout",))
        assert_same_bits(only(extraction), expected["dev/pan"])

    def test_a_child_that_has_grown_is_replaced_between_clips(self, clips, expected):
        with DetectorProcess(DetectorOptions()) as detector:
            detector.extract(clips["train/zoom"])
            usual_mb = rss_mb(detector.child_pid)
        with DetectorProcess(DetectorOptions(), policy=Policy(max_worker_rss_mb=usual_mb * 1.2)) as detector:
            detector.extract(clips["train/zoom"])
            pid = detector.child_pid
            extraction = detector.extract(clips["dev/pan"])
            assert detector.child_pid != pid
        assert extraction.attempts == 1
        assert detector.events == {"replaced: memory": 1}
        assert_same_bits(only(extraction), expected["dev/pan"])

    def test_a_child_whose_threads_pile_up_is_replaced(self, clips, monkeypatch):
        set_faults(monkeypatch, dev_pan="threads")
        with DetectorProcess(FAULTY) as detector:
            detector.extract(clips["train/zoom"])
            pid = detector.child_pid
            detector.extract(clips["dev/pan"])
            assert detector.child_pid == pid
            detector.extract(clips["train/zoom"])
            assert detector.child_pid != pid
        assert detector.events == {"replaced: threads": 1}

    def test_an_idle_worker_lets_its_detector_go_and_takes_it_up_again(self, clips, expected):
        with DetectorProcess(DetectorOptions(), policy=Policy(idle_s=0.5)) as detector:
            detector.extract(clips["train/zoom"])
            pid = detector.child_pid
            deadline = time.monotonic() + 10
            while is_running(pid):
                assert time.monotonic() < deadline, "the idle child did not end"
                time.sleep(0.05)
            extraction = detector.extract(clips["dev/pan"])
        assert (extraction.attempts, extraction.retry_reasons) == (1, ())
        assert_same_bits(only(extraction), expected["dev/pan"])


class TestCannotStart:
    def test_missing_model_is_told_at_once(self):
        with pytest.raises(JobError, match=r"pose_landmark_heavy\.tflite"):
            DetectorProcess(DetectorOptions(model_complexity=2)).start()

    def test_unknown_engine(self):
        with pytest.raises(JobError, match="unknown engine 'holistik'"):
            DetectorProcess(DetectorOptions(engine="holistik")).start()

    def test_a_detector_that_dies_at_start_is_tried_again_then_stops_the_job(self, monkeypatch):
        monkeypatch.setenv("STARTUP_FAULT", "exit")
        with pytest.raises(JobError, match=r"2 tries.*exit code 7") as stopped:
            DetectorProcess(FAULTY, policy=Policy(max_starts=2)).start()
        assert "about to commit exit" in str(stopped.value)

    def test_a_detector_that_dies_at_its_first_start_comes_up_at_the_second(self, monkeypatch, tmp_path):
        monkeypatch.setenv("STARTUP_FAULT", f"segv-once:{tmp_path}/done")
        with DetectorProcess(FAULTY) as detector:
            assert detector.start().engine == "holistic"

    def test_a_detector_that_hangs_at_start_is_killed(self, monkeypatch):
        monkeypatch.setenv("STARTUP_FAULT", "hang")
        with pytest.raises(JobError, match="did not stand after 1 s"):
            DetectorProcess(FAULTY, policy=Policy(max_starts=1, start_timeout_s=1)).start()


class TestBadClips:
    """What would fail again is not tried again, and the detector lives on."""

    @pytest.fixture(scope="class")
    @classmethod
    def detector(cls):
        with DetectorProcess(DetectorOptions()) as detector:
            yield detector

    def test_missing(self, detector, tmp_path):
        with pytest.raises(ClipError, match="no such folder") as failed:
            detector.extract(Clip("gone", str(tmp_path / "gone"), "frames"))
        assert (failed.value.stage, failed.value.reason, failed.value.attempts) == ("open", "missing", 1)

    def test_no_readable_frame(self, detector, tmp_path):
        (tmp_path / "1.png").write_bytes(b"")
        with pytest.raises(ClipError, match=r"1\.png: empty") as failed:
            detector.extract(Clip("empty", str(tmp_path), "frames"))
        assert failed.value.reason == "no-readable-frame"

    def test_input_that_changed_since_it_was_planned(self, detector, root, clips, tmp_path):
        shutil.copytree(root / "dev/pan", tmp_path / "pan")
        clip = Clip("pan", str(tmp_path / "pan"), "frames", fingerprint=clips["dev/pan"].fingerprint)
        (tmp_path / "pan" / "more.png").write_bytes(b"x")
        with pytest.raises(ClipError, match="not what was planned") as failed:
            detector.extract(clip)
        assert failed.value.reason == "input-changed"

    def test_input_that_goes_away_while_it_is_read(self, root, tmp_path):
        folder = shutil.copytree(root / "dev/pan", tmp_path / "pan")
        (clip,) = discover_tree(str(tmp_path)).clips
        real = create_detector(DetectorOptions())

        def after(num_frames: int) -> None:
            if num_frames == 3:
                (folder / sorted(os.listdir(folder))[4]).unlink()

        with pytest.raises(ClipError, match="changed while it was read"):
            list(ClipExtraction(clip, real, FrameOptions(), on_frame=after))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            # As one who mends a clip does: a whole new file in place of the old one.
            (
                lambda folder, names: os.replace(
                    shutil.copy(folder / names[0], folder / ".new"), folder / names[5]
                ),
                "input-changed",
            ),
            (lambda folder, names: os.utime(folder / names[0]), "input-changed"),
            (lambda folder, _names: shutil.rmtree(folder), "missing"),
        ],
        ids=["another frame", "another time", "gone"],
    )
    def test_every_frame_readable_is_not_enough_if_it_changed(self, change, reason, root, tmp_path):
        folder = Path(shutil.copytree(root / "dev/pan", tmp_path / "pan"))
        (clip,) = discover_tree(str(tmp_path)).clips

        def after(num_frames: int) -> None:
            if num_frames == 1:
                change(folder, sorted(os.listdir(folder)))

        with pytest.raises(ClipError) as failed:
            list(ClipExtraction(clip, create_detector(DetectorOptions()), FrameOptions(), on_frame=after))
        assert failed.value.reason == reason

    def test_unreadable_frames_keep_their_place(self, detector, root, tmp_path):
        shutil.copytree(root / "dev/pan", tmp_path / "pan")
        names = sorted(os.listdir(tmp_path / "pan"))
        (tmp_path / "pan" / names[2]).write_bytes(b"<html>404</html>")
        piece = only(detector.extract(Clip("pan", str(tmp_path / "pan"), "frames")))
        assert piece.frame_names == tuple(names)
        assert piece.frame_status.tolist() == [0, 0, FrameStatus.UNREADABLE, 0, 0, 0]
        assert "not an image" in piece.frame_errors[2]
        assert np.isnan(piece.parts["pose"][2]).all()
        assert piece.timestamps_ms.tolist() == [0, 40, 80, 120, 160, 200]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
