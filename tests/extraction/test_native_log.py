import io
import resource

import pytest

from extraction.gl import Meaning
from extraction.native_log import NativeLog

NOISE = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
EVIL = "RuntimeError: something nobody has seen before"
LOST = "E0000 00:00:1732170000.1 42 gl_context.cc:1] Found unchecked GL error: GL_INVALID_FRAMEBUFFER"


def read(log: NativeLog, *lines: str, pid: int = 7) -> None:
    log.read(io.BytesIO("".join(f"{line}\n" for line in lines).encode()), pid)


def test_lines_stand_in_the_file_with_time_and_process(tmp_path):
    log = NativeLog(str(tmp_path / "logs" / "w.log"))
    read(log, NOISE, EVIL)
    log.close()
    lines = (tmp_path / "logs" / "w.log").read_text().splitlines()
    assert [line.split(" ", 3)[2:] for line in lines] == [["7", NOISE], ["7", EVIL]]


def test_a_worker_that_writes_nothing_leaves_no_file(tmp_path):
    log = NativeLog(str(tmp_path / "logs" / "w.log"))
    read(log)
    log.close()
    assert not (tmp_path / "logs").exists()


def test_noise_is_counted_and_does_not_travel_with_a_failure():
    log = NativeLog()
    read(log, NOISE, EVIL, NOISE)
    assert log.counts == {Meaning.NOISE: 2, Meaning.UNKNOWN: 1}
    assert log.tail() == f"; last lines it wrote:\n{EVIL}"


def test_the_tail_is_of_the_present_child():
    log = NativeLog()
    read(log, EVIL)
    log.begin()
    assert log.tail() == ""
    assert log.counts[Meaning.UNKNOWN] == 1


def test_the_tail_is_bounded():
    log = NativeLog()
    read(log, *(f"odd line {n}" for n in range(1000)))
    assert log.tail().count("\n") == 40
    assert log.tail().endswith("odd line 999")


def test_an_endless_line_told_once_leaves_room_for_the_others(tmp_path):
    """The head of a glog line differs each time, its words do not."""
    log = NativeLog(str(tmp_path / "w.log"))
    flood = [f"E0000 00:00:17321{n:05d}.1    {n} gl.cc:1] Found unchecked GL error" for n in range(20_000)]
    read(log, EVIL, *flood, EVIL)
    log.close()
    written = (tmp_path / "w.log").read_text().splitlines()
    assert len(written) == 4
    assert "19999 times more" in written[2]
    assert sum(log.counts.values()) == 20_002


def test_the_file_is_bounded(tmp_path):
    log = NativeLog(str(tmp_path / "w.log"), max_bytes=10_000)
    read(log, *(f"line number {n} of many" for n in range(5000)))
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.log", "w.log.1"]
    assert all(p.stat().st_size <= 10_000 for p in tmp_path.iterdir())
    assert "line number 4999 of many" in (tmp_path / "w.log").read_text()


@pytest.mark.parametrize("data", [b"\xff\xfe\x00bytes\n", b"x" * 1_000_000, b"\n\n\n", b"no line feed"])
def test_any_bytes_are_taken(data, tmp_path):
    log = NativeLog(str(tmp_path / "w.log"), max_bytes=50_000)
    log.read(io.BytesIO(data), 1)
    log.close()


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_log(tmp_path):
    (tmp_path / "file").write_text("")
    log = NativeLog(str(tmp_path / "file" / "w.log"))
    read(log, EVIL)
    assert log.tail().endswith(EVIL)


def test_a_full_disk_costs_nothing_but_the_log(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = NativeLog(str(tmp_path / "w.log"))
    read(log, "first")
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "w.log").stat().st_size, hard))
    try:
        read(log, EVIL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.tail().endswith(EVIL)
