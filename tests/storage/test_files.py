import contextlib
import os
import re
import resource
import subprocess
import sys

import pyarrow as pa
import pytest
from open_to_all import open_to_all

from extraction.errors import JobError
from storage.dataset import Dataset
from storage.files import Store
from storage.schema import clip_schema
from storage.shards import shard_name, write_shard

NOBODY = 65534


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def python(code: str, *arguments: object, **options) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def test_a_file_appears_whole(store):
    with store.create("a/b.bin") as file:
        file.write(b"12")
        assert not store.exists("a/b.bin")
        file.write(b"34")
    assert store.read("a/b.bin") == b"1234"
    assert list(store.names("")) == ["a/b.bin"]
    assert store.open("a/b.bin").read_at(2, 1) == b"23"


def break_off(store: Store, name: str, error: type[BaseException]) -> None:
    with store.create(name) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_what_was_there(store, error, before):
    if before:
        store.write("a.bin", before)
    with pytest.raises(error):
        break_off(store, "a.bin", error)
    assert store.entries() == (["a.bin"] if before else [])
    assert not before or store.read("a.bin") == before


KILLED = """
import sys
from storage.files import Store
with Store(sys.argv[1]).create(sys.argv[2]) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_killed_writer_leaves_only_what_sweep_removes(store, before):
    name = shard_name(0, "train")
    if before:
        store.write(name, before)
    with python(KILLED, store.root, name) as child:
        assert child.stdout.readline() == "written\n"
        child.kill()
    left = set(store.names("")) - {name}
    assert len(left) == 1
    assert Dataset(store.root).done() == ({0: name} if before else {})
    assert not before or store.read(name) == before
    assert store.sweep() == 1
    assert list(store.names("")) == ([name] if before else [])


def test_sweep_leaves_the_files_of_others(store):
    theirs = [".notes.tmp", "a.tmp", "clips/.x.host-1.tmp"]
    for name in theirs:
        store.write(name, b"")
    assert store.sweep() == 0
    assert sorted(store.names("")) == theirs


def test_names_that_are_no_utf8_do_no_harm(store):
    store.write("a", b"")
    with open(os.fsencode(store.root) + b"/\xff", "wb"):
        pass
    assert store.sweep() == 0
    assert len(store.entries()) == 2
    store.delete("a")
    with pytest.raises(JobError, match=r"found '\\udcff'"):
        Dataset(store.root).expect_empty()


def test_a_location_that_is_no_utf8_is_refused():
    with pytest.raises(JobError, match="valid Unicode"):
        Store(os.fsdecode(b"/tmp/\xff"))


def test_nothing_is_not_an_error(store):
    assert store.entries() == []
    assert list(store.names("clips")) == []
    assert store.sweep() == 0
    assert not store.exists("a")
    store.delete("a")
    store.delete_folder("clips")
    with pytest.raises(FileNotFoundError):
        store.read("a")


def test_files_and_folders_are_told_apart(store):
    store.write("a/b", b"")
    assert (store.is_file("a"), store.is_file("a/b"), store.exists("a"), store.exists("a/b")) == (
        False,
        True,
        True,
        True,
    )
    store.delete_folder("a")
    assert not store.exists("a")


def test_file_uris_are_paths(tmp_path):
    assert Store(f"file://{tmp_path}").root == str(tmp_path)
    assert Store(f"file://{tmp_path}/a%20b").root == f"{tmp_path}/a b"
    with pytest.raises(JobError, match="carrier-pigeon://bucket"):
        Store("carrier-pigeon://bucket")


def test_messages_do_not_show_an_access_key():
    store = Store("s3://user:secret@bucket/folder?region=us-east-1&scheme=http")
    assert (store.location, store.is_local) == ("s3://bucket/folder", False)
    assert store.full("a") == "s3://bucket/folder/a"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "s3://AKIAUSER:un likely@bucket/x",
            "s3://bucket/x: not a location that can be opened: Cannot parse",
        ),
        (
            "s3://AKIAUSER:un%2Flikely@bucket/x?region=us-east-1&scheme=ftp",
            "Invalid S3 connection scheme 'ftp'",
        ),
        ("s3://AKIAUSER:un/likely@bucket/x", "a bucket, found one with a colon.*write %2F for /"),
        ("gs://AKIAUSER:un/likely@bucket/x", "a bucket, found one with a colon"),
        ("s3:///bucket/x", "expected the name of a bucket behind s3://, as in s3://bucket/folder"),
        ("s3://[b/unlikely", "not a location that can be opened: Invalid IPv6 URL"),
    ],
)
def test_what_is_no_place_is_refused_without_showing_it(uri, said):
    with pytest.raises(JobError, match=said) as caught:
        Store(uri)
    assert not re.search("un.?likely|AKIAUSER|likely@", str(caught.value))


@contextlib.contextmanager
def file_size_limit(num_bytes: int):
    # Python ignores SIGXFSZ, so that a write beyond the limit fails as on a full disk, with EFBIG.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: Store) -> None:
    """Lets Arrow write a shard: its errors come from below a C++ writer."""
    schema = clip_schema({})
    row = {"num_frames": 1, "text": os.urandom(2_000_000).hex()}
    write_shard(store, 0, "train", {}, [[pa.RecordBatch.from_pylist([row], schema)]])


def test_a_write_that_does_not_fit_names_the_file_and_leaves_nothing(store):
    with file_size_limit(100_000), pytest.raises(JobError) as caught:
        fill(store)
    assert store.full(shard_name(0, "train")) in str(caught.value)
    assert "File too large" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert list(store.names("")) == []


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only a user who may mount can make a small disk")
    yield Store(f"{tmp_path}/out")
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_names_the_file_and_what_to_do(small_disk):
    small_disk.write("config", b"{}")
    with pytest.raises(JobError) as caught:
        fill(small_disk)
    assert str(caught.value).startswith(small_disk.full(shard_name(0, "train")))
    assert "No space left on device" in str(caught.value)
    assert "free some space" in str(caught.value)
    assert list(small_disk.names("")) == ["config"]


@contextlib.contextmanager
def unprivileged():
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    open_to_all(folder)
    store = Store(str(folder))
    store.write("there/a", b"1")
    for place in (folder, folder / "there"):
        place.chmod(0o555)
    yield store
    for place in (folder, folder / "there"):
        place.chmod(0o755)


def test_a_read_only_folder_is_a_job_error(read_only):
    with unprivileged():
        assert read_only.read("there/a") == b"1"
        for refused in (
            lambda: read_only.write("b", b""),
            lambda: read_only.write("there/b", b""),
            lambda: read_only.write("new/b", b""),
            lambda: read_only.delete("there/a"),
            lambda: read_only.delete_folder("there"),
        ):
            with pytest.raises(JobError, match=r"cannot be written: Permission denied.* give yourself"):
                refused()
    assert list(read_only.names("")) == ["there/a"]


def test_a_folder_that_cannot_be_entered_is_a_job_error(read_only):
    os.chmod(f"{read_only.root}/there", 0o000)
    with unprivileged(), pytest.raises(JobError, match="cannot be reached: Permission denied"):
        read_only.exists("there/a")


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(read_only):
    os.chmod(f"{read_only.root}/there", 0o000)
    with unprivileged(), pytest.raises(JobError, match="there: cannot be listed: Permission denied"):
        list(read_only.names("there"))
