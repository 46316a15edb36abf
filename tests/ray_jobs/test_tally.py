import json
import signal
import time

import pytest

from extraction.errors import JobError
from ray_jobs.config import FailureLimit
from ray_jobs.receipt import Receipt
from ray_jobs.tally import Tally
from storage.dataset import Dataset
from storage.running import WorkerStatus


class TestFailureLimit:
    @pytest.mark.parametrize(
        ("text", "failed", "tried", "passed"),
        [
            ("20%", 49, 49, False),
            ("20%", 10, 50, False),
            ("20%", 11, 50, True),
            ("100%", 1000, 1000, False),
            ("0.5%", 1, 100, True),
            ("0", 0, 10, False),
            ("0", 1, 1, True),
            ("3", 3, 3, False),
            ("3", 4, 4000, True),
        ],
    )
    def test_is_passed(self, text, failed, tried, passed):
        assert FailureLimit(text).is_passed(failed, tried) is passed

    @pytest.mark.parametrize("text", ["", "%", "-1", "many", "1.5", "1e3", "20 %", "1..5%"])
    def test_what_is_neither_a_number_nor_a_share(self, text):
        with pytest.raises(JobError, match="--max-failures"):
            FailureLimit(text)


def receipt(shard: int, clips: int, failed: int, **more: object) -> Receipt:
    return Receipt(shard, clips, failed, clips * 10, 0, 1.0, "w", time.time() - 5, time.time(), **more)


def status(shard: int, failures: int, **more: object) -> WorkerStatus:
    return WorkerStatus("w", shard, failures=failures, **more)


class TestTally:
    def test_receipts_take_the_place_of_reports(self):
        tally = Tally(10, 100, FailureLimit())
        working = status(1, 2, reasons={"missing": 2}, examples={"missing": "a: no such folder"})
        assert tally.now([working]).failed == 2
        tally.receipts.append(receipt(1, 3, 2, reasons={"missing": 2}, examples={"missing": "a"}))
        counts = tally.now([working])
        assert (counts.clips, counts.failed, counts.reasons) == (3, 2, {"missing": 2})

    def test_a_run_that_goes_badly_is_interrupted_and_says_why(self):
        tally = Tally(100, 1000, FailureLimit("2"), "the same command again")
        reasons = {"missing": 3, "signal": 1}
        examples = {"missing": "a: no such folder", "signal": "b: SIGSEGV"}
        working = status(1, 4, reasons=reasons, examples=examples)

        def interrupt(_signal: int, _frame: object) -> None:
            raise KeyboardInterrupt

        def run() -> None:
            tally.stop_if_too_many_failed(tally.now([working]))
            time.sleep(1)

        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                run()
        finally:
            signal.signal(signal.SIGTERM, before)
        assert "stopped: 4 of 4 clips failed" in tally.complaint
        assert "3 by 'missing', such as: a: no such folder" in tally.complaint
        assert "--retry-failed" in tally.complaint

    def test_at_the_end_it_counts_too(self):
        tally = Tally(3, 30, FailureLimit("0"))
        tally.receipts.append(receipt(1, 2, 1, reasons={"missing": 1}, examples={"missing": "a"}))
        tally.finish()
        assert tally.judged().startswith("1 of 3 clips failed")
        tally.stop_if_too_many_failed(tally.now([]))  # over: interrupts nobody

    def test_an_ordinary_run_ends_in_peace(self):
        tally = Tally(3, 30, FailureLimit())
        tally.receipts.append(receipt(1, 2, 1))
        tally.finish()
        assert tally.judged() == ""


@pytest.mark.serial
def test_a_job_whose_clips_all_fail_stops_with_code_3(landmarks, tmp_path):
    pytest.importorskip("mediapipe.python.solutions", reason="needs an engine without a model to fetch")
    root, out = tmp_path / "in", tmp_path / "out"
    for number in range(150):
        (root / f"clip{number}").mkdir(parents=True)
        (root / f"clip{number}" / "1.png").touch()
    done = landmarks("extract", root, out, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"]) == (3, 3), done.stderr
    assert told["splits"][0]["clips"] == 150
    for text in (done.stderr, told["complaint"]):
        assert "--max-failures is 20%" in text
        assert "by 'no-readable-frame', such as: " in text
    assert "Traceback" not in done.stderr
    assert Dataset.open(str(out)).store.exists("dataset.json")
    on = landmarks("extract", root, out, "--retry-failed", "--max-failures", "100%")
    assert on.returncode == 1, on.stderr
    assert "0 to do" in on.stdout
    assert Dataset.open(str(out)).failures().num_rows == 150
