"""Wrong use: each with exit code 2, one clear message, and nothing changed."""

import os
import subprocess
import sys

import pytest

from extraction.errors import JobError
from ray_jobs import submit
from ray_jobs.cli import guarded, main


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("error: ")
        assert "Traceback" not in output.err
        return output.err

    return run


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="needs the legacy line of mediapipe (Python < 3.13)")
class TestExtract:
    def test_frames_missing(self, fails, tmp_path):
        assert "no such" in fails("extract", tmp_path / "nowhere", tmp_path / "out").lower()
        assert not (tmp_path / "out").exists()

    def test_frames_empty(self, fails, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").touch()
        message = fails("extract", tmp_path / "in", tmp_path / "out")
        assert "png" in message
        assert "mp4" in message
        assert not (tmp_path / "out").exists()

    def test_frames_is_a_file(self, fails, tmp_path):
        (tmp_path / "clip.mp4").touch()
        assert "folder" in fails("extract", tmp_path / "clip.mp4", tmp_path / "out")

    def test_out_missing(self, fails, tmp_path):
        assert "landmarks extract FRAMES OUT" in fails("extract", tmp_path)

    def test_out_inside_frames(self, fails, portrait):
        assert "lies inside FRAMES" in fails("extract", portrait, portrait / "out")
        assert "lies inside FRAMES" in fails("extract", portrait, portrait)

    def test_out_is_a_file(self, fails, portrait, tmp_path):
        (tmp_path / "out").write_text("x")
        assert "found a file" in fails("extract", portrait, tmp_path / "out")

    def test_out_holds_other_files(self, fails, portrait, tmp_path):
        (tmp_path / "thesis.tex").write_text("x")
        assert "thesis.tex" in fails("extract", portrait, tmp_path)
        assert os.listdir(tmp_path) == ["thesis.tex"]

    def test_overwrite_does_not_touch_a_folder_that_is_no_data_set(self, fails, portrait, tmp_path):
        (tmp_path / "thesis.tex").write_text("x")
        assert "thesis.tex" in fails("extract", portrait, tmp_path, "--overwrite")
        assert os.listdir(tmp_path) == ["thesis.tex"]

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["--workers", "0"], "--workers must be 1 or more"),
            (["--splits", "trian"], "trian"),
            (["--include", "nothing*"], "nothing"),
            (["--min-detection-confidence", "1.5"], "min_detection_confidence"),
            (["--max-pixels", "0"], "max_pixels"),
            (["--fps", "0"], "fps"),
            (["--frame-timeout", "0"], "--frame-timeout"),
            (["--split-from", "name"], "--split-from"),
            (["--engine", "holistik"], "unknown engine"),
            (["--manifest", "x.csv"], "not both"),
            (["--address", "nonsense"], "nonsense"),
            (["--address", "127.0.0.1:1"], "none answers"),
        ],
    )
    def test_wrong_options(self, options, text, fails, portrait, tmp_path):
        assert text in fails("extract", portrait, tmp_path / "out", *options)

    @pytest.mark.parametrize("complexity", ["0", "2"])
    def test_a_pose_model_that_is_not_there(self, complexity, fails, portrait, tmp_path):
        message = fails("extract", portrait, tmp_path / "out", "--model-complexity", complexity)
        assert "pose_landmark_" in message
        assert "--model-complexity 1" in message

    def test_unknown_option_and_unknown_command(self, fails, portrait, tmp_path):
        assert "--wokers" in fails("extract", portrait, tmp_path / "out", "--wokers", "2")
        assert "extrakt" in fails("extrakt")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="this Python has the legacy line of mediapipe")
class TestWithoutTheLegacyLine:
    def test_legacy_holistic_names_the_line_that_has_it(self, fails, tmp_path):
        message = fails("extract", tmp_path, tmp_path / "out", "--engine", "holistic")
        assert "Python 3.11 or 3.12" in message
        assert not (tmp_path / "out").exists()

    def test_the_default_engine_says_which_model_to_fetch(self, fails, tmp_path, monkeypatch):
        monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path / "models"))
        message = fails("extract", tmp_path, tmp_path / "out")
        assert "landmarks models fetch holistic_landmarker" in message


def test_what_nobody_thought_of_is_not_taken_for_a_finished_job(capsys):
    def broken() -> int:
        raise KeyError("surprise")

    assert guarded(broken) == 2
    assert "surprise" in capsys.readouterr().err


def test_the_module_is_the_same_entry():
    shown = subprocess.run(
        [sys.executable, "-m", "ray_jobs.extract", "--help"], capture_output=True, text=True, check=True
    )
    assert "--retry-failed" in shown.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "ray_jobs.extract"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stderr[:7]) == (2, "error: ")


class TestReading:
    @pytest.mark.parametrize("command", ["progress", "view", "failures"])
    def test_no_data_set(self, command, fails, tmp_path):
        assert "no dataset.json" in fails(command, tmp_path / "nowhere")
        assert "no dataset.json" in fails(command, tmp_path)


def test_a_cluster_to_join_is_no_job_server(monkeypatch):
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert submit._address("").startswith("http://127.0.0.1")
    monkeypatch.setenv("RAY_ADDRESS", "https://head:8265")
    assert submit._address("") == "https://head:8265"
    with pytest.raises(JobError, match="--address: expected the URL of a job server"):
        submit._address("auto")
