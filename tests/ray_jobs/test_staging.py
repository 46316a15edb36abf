"""Remote clips fetched ahead of a worker: whole, in order, within bounds, and gone afterwards."""

import functools
import http.server
import os
import threading
import time
from collections.abc import Iterator

import pytest
from flaky_s3 import Fault, FlakyS3, Request

from extraction.clips import Clip
from extraction.errors import ClipError, JobError
from extraction.frames import current_fingerprint
from ray_jobs.job import Inputs, discover
from ray_jobs.staging import Staged, staged
from storage.files import Store
from storage.retry import Patience
from storage.stores import Stores

FRAME = b"x" * 1000
HASTY = Patience(total_s=2.0, first_pause_s=0.05)
PLENTY = 10**9


@pytest.fixture
def s3(moto) -> Iterator[FlakyS3]:
    with FlakyS3(moto) as server:
        yield server


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where clips are fetched to; nothing is left there by any test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert os.listdir(folder) == []


@pytest.fixture
def uri(s3, s3_uri) -> str:
    """Ten clips of three frames, and a video."""
    there = f"{s3_uri.partition('?')[0]}?{s3.query}"
    store = Store(there)
    for clip in range(10):
        for frame in range(3):
            store.write(f"c{clip}/{frame}.png", FRAME)
        store.write(f"c{clip}/notes.txt", FRAME)
    store.write("video.mp4", FRAME * 100)
    s3.heal()
    return there


def found(uri: str) -> list[Clip]:
    return list(discover(Inputs(uri)).clips)


def in_scratch(scratch) -> list[str]:
    return sorted(
        os.path.basename(os.path.dirname(path)) + "/" + os.path.basename(path)
        for folder, _, files in os.walk(scratch)
        for path in (os.path.join(folder, file) for file in files)
        if not path.endswith(".lock")
    )


def test_clips_lie_here_as_they_lie_there(uri, scratch):
    clips = found(uri)
    with staged(clips, Stores(uri), PLENTY) as inputs:
        for clip in clips:
            with inputs.here(clip) as here:
                assert here.path.startswith(str(scratch))
                assert current_fingerprint(here) == clip.fingerprint != ""
                if clip.kind == "frames":
                    assert sorted(os.listdir(here.path)) == ["0.png", "1.png", "2.png"]
                else:
                    assert os.path.basename(here.path) == "video.mp4"
                    with open(here.path, "rb") as file:
                        assert file.read() == FRAME * 100
            assert not os.path.exists(here.path)


def test_clips_of_this_machine_stay_where_they_are(uri, scratch, portrait):
    local = Clip("a", f"{portrait}/dev/pan", "frames")
    with staged([local], Stores(), 1) as inputs, inputs.here(local) as here:
        assert here is local
        assert os.listdir(scratch) == []
    with staged([local, *found(uri)[:1]], Stores(uri), 1) as inputs, inputs.here(local) as here:
        assert here is local


def test_the_next_ones_come_while_one_is_at_work(uri, s3, scratch):
    clips = found(uri)
    s3.add(Fault("slow", seconds=0.05))
    with staged(clips, Stores(uri), PLENTY) as inputs:
        with inputs.here(clips[0]):
            wait_for(lambda: len(in_scratch(scratch)) == 8 * 3)
            time.sleep(0.3)
            assert len(in_scratch(scratch)) == 8 * 3  # as many as may lie here, and no more
        began = time.monotonic()
        with inputs.here(clips[1]):
            assert time.monotonic() - began < 0.05


@pytest.mark.parametrize(("max_bytes", "at_once"), [(7000, 2), (1, 1)])
def test_no_more_than_there_is_room_for(max_bytes, at_once, uri, scratch):
    clips = found(uri)
    most = 0
    with staged(clips, Stores(uri), max_bytes) as inputs:
        for clip in clips:
            with inputs.here(clip):
                time.sleep(0.1)
                folders = {name.partition("/")[0] for name in in_scratch(scratch)}
                most = max(most, len(folders))
    assert most == at_once


def test_ranges_of_one_video_are_fetched_once(uri, s3):
    video = next(clip for clip in found(uri) if clip.kind == "video")
    ranges = [
        Clip(f"v{n}", video.uri, "video", start_frame=n, end_frame=n + 1, fingerprint="") for n in range(3)
    ]
    s3.heal()
    with staged(ranges, Stores(uri), PLENTY) as inputs:
        for clip in ranges:
            with inputs.here(clip) as here:
                assert (here.start_frame, os.path.getsize(here.path)) == (clip.start_frame, len(FRAME) * 100)
        assert not os.path.exists(here.path)
    assert len([request for request in s3.requests if request.method == "GET"]) == 1


def test_a_clip_that_cannot_be_had_fails_alone(uri, s3):
    clips = found(uri)
    store = Store(uri)
    store.delete_folder("c0")
    store.delete("video.mp4")
    s3.add(Fault("error", status=403, code="AccessDenied", path="c1/1.png"))
    s3.add(Fault("error", status=403, code="AccessDenied", path=r"prefix=\w+%2Fc2"))
    failed: dict[str, ClipError] = {}
    with staged(clips, Stores(uri), PLENTY) as inputs:
        for clip in clips:
            try:
                with inputs.here(clip):
                    pass
            except ClipError as error:
                failed[clip.clip_id] = error
    reasons = {clip_id: (error.stage, error.reason) for clip_id, error in failed.items()}
    missing, denied = ("open", "missing"), ("open", "unreadable")
    assert reasons == {"c0": missing, "c1": denied, "c2": denied, "video": missing}
    assert all(
        str(failed[clip.clip_id]).startswith(f"{clip.uri}: ") for clip in clips if clip.clip_id in failed
    )


def test_what_no_machine_can_have_fails_alone(uri, s3):
    """Archived, encrypted with a key of the client's, with names that no disk takes, or in no bucket."""
    store = Store(uri)
    store.write(f"c1/{'n' * 260}.png", FRAME)
    store.write(f"{'v' * 260}.mp4", FRAME)
    clips = [*found(uri), Clip("lost", "s3://no-such-bucket/a", "frames")]
    s3.add(Fault("error", status=403, code="InvalidObjectState", path="c0/1.png", method="GET"))
    s3.add(Fault("error", status=400, code="InvalidRequest", path="c2/1.png", method="HEAD"))
    failed: dict[str, ClipError] = {}
    with staged(clips, Stores(uri, HASTY), PLENTY) as inputs:
        for clip in clips:
            try:
                with inputs.here(clip):
                    pass
            except ClipError as error:
                failed[clip.clip_id[:4]] = error
    reasons = {clip_id: (error.stage, error.reason) for clip_id, error in failed.items()}
    assert reasons == {
        **dict.fromkeys(("c0", "c1", "c2", "vvvv"), ("open", "unreadable")),
        "lost": ("open", "missing"),
    }
    assert "takes no file of its name: File name too long" in str(failed["c1"])


def test_credentials_that_have_expired_stop_the_job(uri, s3):
    """HEAD says of them what it says of one file that is encrypted."""
    clips = found(uri)[:1]
    s3.add(Fault("error", status=400, code="ExpiredToken", path="(png|max-keys=1000&prefix=)?$"))
    with staged(clips, Stores(uri, HASTY), PLENTY) as inputs, pytest.raises(JobError, match="have expired"):
        take_all(inputs, clips)


class Chunked(http.server.SimpleHTTPRequestHandler):
    """Does not say how long its answers are."""

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Content-Length":
            super().send_header(keyword, value)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Says nothing."""


def test_what_has_no_size_fails_alone(tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "a.mp4").write_bytes(FRAME)
    handler = functools.partial(Chunked, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        clip = Clip("a", f"http://127.0.0.1:{server.server_port}/a.mp4", "video")
        with (
            staged([clip], Stores(), PLENTY) as inputs,
            pytest.raises(ClipError, match=r"does not say how large a\.mp4 is") as caught,
            inputs.here(clip),
        ):
            pass
        server.shutdown()
        thread.join()
    assert caught.value.reason == "unreadable"


@pytest.fixture
def full_disk(small_disk, s3, s3_uri, monkeypatch) -> str:
    """Clips of which each fits on the disk of 40 kB that they are fetched to, and no two of the large."""
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    there = f"{s3_uri.partition('?')[0]}?{s3.query}"
    store = Store(there)
    for clip in range(6):
        store.write(f"c{clip}/0.png", FRAME * (30 if clip < 2 else 4))
        store.write(f"c{clip}/1.png", FRAME)
    s3.heal()
    return there


def test_a_full_disk_takes_one_after_the_other(full_disk, small_disk):
    clips = found(full_disk)
    ranges = [*clips, clips[0]]  # the first is asked for again, and was let go since
    with staged(ranges, Stores(full_disk), PLENTY) as inputs:
        for clip in ranges:
            with inputs.here(clip) as here:
                time.sleep(0.1)
                assert current_fingerprint(here) == clip.fingerprint
    assert os.listdir(small_disk) == []


def test_a_full_disk_is_waited_for(full_disk, small_disk):
    """What others hold there they let go."""
    clips = found(full_disk)[:1]
    (small_disk / "others").write_bytes(b"x" * 30_000)
    leave = threading.Timer(0.5, (small_disk / "others").unlink)
    leave.start()
    with staged(clips, Stores(full_disk), PLENTY) as inputs, inputs.here(clips[0]) as here:
        assert current_fingerprint(here) == clips[0].fingerprint
    leave.join()


def test_a_clip_that_is_too_large_for_the_disk_stops_the_job(full_disk):
    Store(full_disk).write("c1/0.png", FRAME * 60)
    clips = found(full_disk)
    with staged(clips, Stores(full_disk), PLENTY) as inputs:
        with inputs.here(clips[0]):
            pass
        with pytest.raises(JobError, match=r"cannot take the inputs.*No space left"), inputs.here(clips[1]):
            pass


def test_nothing_of_a_failed_fetch_comes_later(full_disk, s3):
    clips = found(full_disk)[:2]
    slow = s3.add(Fault("slow", seconds=1.0, times=1, path="c1/1.png", method="GET"))
    with staged(clips, Stores(full_disk), PLENTY) as inputs:
        with inputs.here(clips[0]):
            wait_for(lambda: slow.hits)
        with inputs.here(clips[1]) as here:
            gets = [request for request in s3.requests if asked(request) == ("GET", "c1/1.png")]
            assert len(gets) == 2  # the slow one has been answered, not only the one that counts
            assert current_fingerprint(here) == clips[1].fingerprint


def asked(request: Request) -> tuple[str, str]:
    return request.method, "/".join(request.path.partition("?")[0].split("/")[-2:])


def test_what_changed_since_it_was_planned_is_noticed(uri):
    clips = found(uri)[:2]
    Store(uri).write("c0/1.png", FRAME + b"longer")
    with staged(clips, Stores(uri), PLENTY) as inputs:
        with inputs.here(clips[0]) as here:
            assert current_fingerprint(here) not in ("", clips[0].fingerprint)
        with inputs.here(clips[1]) as here:
            assert current_fingerprint(here) == clips[1].fingerprint


def test_what_changes_while_it_is_fetched_is_noticed(uri, s3):
    clip = found(uri)[0]
    store = Store(uri)
    store.exists("c0")
    slow = s3.add(Fault("slow", seconds=1, path="c0/1.png", method="GET"))
    with staged([clip], Stores(uri), PLENTY) as inputs:
        wait_for(lambda: slow.hits)
        store.write("c0/3.png", FRAME)
        with pytest.raises(ClipError, match="changed while it was fetched") as caught, inputs.here(clip):
            pass
    assert caught.value.reason == "input-changed"


def test_errors_name_the_clips_own_place(uri):
    clip = found(uri)[0]
    with staged([clip], Stores(uri), PLENTY) as inputs:
        with pytest.raises(ClipError) as caught, inputs.here(clip) as here:
            raise ClipError("decode", "no-readable-frame", f"{here.uri}: expected frames")
        assert str(caught.value) == f"{clip.uri}: expected frames"


def test_a_burst_of_refusals_passes(uri, s3):
    clips = found(uri)
    s3.add(Fault("error", times=20))
    s3.add(Fault("drop", times=5, method="GET"))
    with staged(clips, Stores(uri, Patience(total_s=30, first_pause_s=0.05)), PLENTY) as inputs:
        for clip in clips:
            with inputs.here(clip) as here:
                assert current_fingerprint(here) == clip.fingerprint


def test_a_dead_store_stops_the_job(uri, s3):
    clips = found(uri)
    with staged(clips, Stores(uri, HASTY), PLENTY) as inputs:
        with inputs.here(clips[0]):
            pass
        s3.stop()
        with pytest.raises(JobError, match=r"see to it that the endpoint answers|tried again") as caught:
            take_all(inputs, clips[1:])
    assert uri.partition("?")[2] not in str(caught.value)


def test_whoever_leaves_early_waits_for_nothing(uri, s3):
    clips = found(uri)
    s3.add(Fault("slow", seconds=0.2))
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), staged(clips, Stores(uri), PLENTY):
        1 / 0  # noqa: B018
    assert time.monotonic() - began < 5
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")])


def test_no_place_to_fetch_to_is_told(uri, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with (
        pytest.raises(JobError, match=r"cannot take the inputs that are fetched to it: .*--scratch-gb"),
        staged(found(uri), Stores(uri), PLENTY),
    ):
        pass


def take_all(inputs: Staged, clips: list[Clip]) -> None:
    for clip in clips:
        with inputs.here(clip):
            pass


def wait_for(condition, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
