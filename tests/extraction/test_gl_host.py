"""Real processes on one host, which share what they find out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extraction import gl_host
from extraction.gl_host import HostVerdict, deciding, forget, recall, remember

Start = Callable[..., subprocess.Popen[str]]

HEAD = "import os, sys, time\nfrom extraction.gl_host import *\nsay = lambda *a: print(*a, flush=True)\n"
# Finds out unless it is told, and says which.
WORKER = """
with deciding() as known:
    say("told" if known else "finds out")
    if known is None:
        time.sleep(0.3)
        remember(HostVerdict(False, "no GPU"))
"""
HOLDER = """
with deciding(sys.argv[1]) as known:
    assert known is None
    say("holds")
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + code, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(gl_host.__file__).parents[1])},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def folder_in(temporary: Path) -> Path:
    return temporary / f"ray-landmarks-gl-{os.geteuid()}"


class TestDeciding:
    def test_only_one_process_finds_out(self, start):
        workers = [start(WORKER) for _ in range(5)]
        said = [worker.communicate(timeout=30)[0].strip() for worker in workers]
        assert sorted(said) == ["finds out", "told", "told", "told", "told"]
        assert recall() == HostVerdict(False, "no GPU", unix_s=recall().unix_s)
        assert [worker.returncode for worker in workers] == [0] * 5

    def test_the_death_of_the_one_who_finds_out_frees_the_others(self, start):
        holder = start(HOLDER, "")
        assert holder.stdout.readline() == "holds\n"
        waiter = start(WORKER)
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=1.5)
        os.kill(holder.pid, signal.SIGKILL)
        assert waiter.communicate(timeout=10)[0] == "finds out\n"

    def test_a_child_of_the_dead_does_not_keep_the_others_waiting(self, start):
        child = "import subprocess; subprocess.Popen(['sleep', '5'], stdout=subprocess.DEVNULL)"
        holder = start(HOLDER.replace('say("holds")', f'{child}; say("holds")'), "")
        assert holder.stdout.readline() == "holds\n"
        os.kill(holder.pid, signal.SIGKILL)
        began = time.monotonic()
        with deciding() as known:
            assert known is None
        assert time.monotonic() - began < 3

    def test_nobody_waits_longer_than_agreed(self, start):
        holder = start(HOLDER, "")
        assert holder.stdout.readline() == "holds\n"
        began = time.monotonic()
        with deciding(wait_s=0.5) as known:
            assert known is None
        assert 0.5 <= time.monotonic() - began < 3

    def test_they_go_on_as_soon_as_it_is_known(self, start):
        holder = start(HOLDER, "")
        assert holder.stdout.readline() == "holds\n"
        waiter = start(WORKER)
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=1.5)
        remember(HostVerdict(True, renderer="a card"))
        assert waiter.communicate(timeout=5)[0] == "told\n"
        assert holder.poll() is None

    def test_other_jobs_do_not_wait(self, start):
        holder = start(HOLDER, "job-1")
        assert holder.stdout.readline() == "holds\n"
        began = time.monotonic()
        with deciding("job-2") as known:
            assert known is None
        assert time.monotonic() - began < 3

    def test_an_error_of_the_body_comes_out_and_frees_the_others(self):
        with pytest.raises(ZeroDivisionError), deciding():
            raise ZeroDivisionError
        began = time.monotonic()
        with deciding() as known:
            assert known is None
        assert time.monotonic() - began < 3


class TestRemembering:
    def test_round_trip(self):
        assert recall() is None
        verdict = HostVerdict(False, "Grund: kein Gerät", "llvmpipe")
        remember(verdict)
        assert recall() == verdict
        remember(HostVerdict(True))
        assert recall().works
        forget()
        assert recall() is None
        forget()

    def test_expires(self):
        remember(HostVerdict(True, unix_s=time.time() - 3595))
        assert recall() is not None
        remember(HostVerdict(True, unix_s=time.time() - 3605))
        assert recall() is None
        remember(HostVerdict(True, unix_s=time.time() + 1000))
        assert recall() is None

    def test_belongs_to_its_circumstances(self, monkeypatch):
        remember(HostVerdict(True), "job")
        assert recall() is None
        monkeypatch.setenv("SOMETHING_ELSE", "1")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
        assert recall("job") is not None
        for name in ("EGL_PLATFORM", "__EGL_VENDOR_LIBRARY_DIRS", "NVIDIA_DRIVER_CAPABILITIES", "LD_PRELOAD"):
            with monkeypatch.context() as other:
                other.setenv(name, "/other")
                assert recall("job") is None
        assert recall("job") is not None

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff\x00",
            b"{",
            b"[]",
            b"null",
            b'{"works": true}',
            b'{"works": "no", "reason": "", "renderer": "", "unix_s": NOW}',
            b'{"works": true, "reason": "", "renderer": "", "unix_s": NaN}',
            b'{"works": true, "reason": "", "renderer": "", "unix_s": "soon"}',
        ],
    )
    def test_a_damaged_file_is_no_verdict_and_is_mended(self, content, temporary):
        remember(HostVerdict(True))
        (file,) = folder_in(temporary).glob("*.json")
        file.write_bytes(content.replace(b"NOW", b"%d" % time.time()))
        assert recall() is None
        remember(HostVerdict(False))
        assert recall() is not None

    def test_many_writers_and_never_half_a_verdict(self, start):
        remember(HostVerdict(True, "x" * 20_000))
        code = "for n in range(200): remember(HostVerdict(True, 'x' * 20_000))"
        writers = [start(code) for _ in range(3)]
        reads = 0
        while any(writer.poll() is None for writer in writers):
            found = recall()
            assert found is not None
            assert len(found.reason) == 20_000
            reads += 1
        assert reads > 10
        assert [writer.returncode for writer in writers] == [0, 0, 0]

    def test_old_files_go_and_young_ones_stay(self, temporary):
        remember(HostVerdict(True), "old")
        with deciding("older"):
            pass
        for file in folder_in(temporary).iterdir():
            os.utime(file, (time.time() - 2 * 24 * 3600,) * 2)
        with deciding("young"):
            remember(HostVerdict(True), "young")
        assert sorted(file.suffix for file in folder_in(temporary).iterdir()) == [".json", ".lock"]
        assert recall("young") is not None


class TestPlaces:
    """Where nothing can be kept safely nothing is, and nothing goes wrong."""

    def nothing_is_kept(self) -> None:
        with deciding(wait_s=5) as known:
            assert known is None
            remember(HostVerdict(True))
        assert recall() is None
        forget()

    def test_only_this_user_can_read_it(self, temporary):
        remember(HostVerdict(True))
        assert folder_in(temporary).stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("place", ["/nonexistent", "/proc", "/dev/null"])
    def test_a_temporary_folder_that_takes_no_files(self, place, monkeypatch):
        monkeypatch.setenv("TMPDIR", place)
        self.nothing_is_kept()

    def test_a_full_disk(self, start, temporary):
        remember(HostVerdict(True, "before"))
        child = start(
            """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with deciding() as known:
    say(known and known.reason)
    remember(HostVerdict(False, "after"))
say(recall() and recall().reason)
""",
            "",
        )
        assert child.communicate(timeout=30)[0] == "before\nbefore\n"
        assert child.returncode == 0
        assert [file.suffix for file in folder_in(temporary).iterdir()] == [".json"]

    @pytest.mark.parametrize("kind", ["open to all", "a link", "a file"])
    def test_a_folder_that_others_may_have_put_there(self, kind, temporary):
        target = folder_in(temporary)
        if kind == "open to all":
            target.mkdir()
            target.chmod(0o777)
        elif kind == "a link":
            (temporary / "elsewhere").mkdir(mode=0o700)
            target.symlink_to(temporary / "elsewhere")
        else:
            target.touch()
        self.nothing_is_kept()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
    def test_a_folder_of_another_user(self, temporary):
        folder_in(temporary).mkdir(mode=0o700)
        os.chown(folder_in(temporary), 12345, 12345)
        self.nothing_is_kept()
