"""Trees and manifests on an object store give the clips that they give on a disk; a real server over HTTP."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flaky_s3 import Fault, FlakyS3

from extraction.clips import Clip
from extraction.detectors import DetectorOptions
from extraction.errors import JobError
from ray_jobs import remote_places
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs, check, discover
from ray_jobs.remote_model import with_model_here
from ray_jobs.remote_places import RemotePlaces
from storage.files import Store
from storage.stores import Stores, location_of, mtime_ns, uri_of


def upload(folder: Path, uri: str) -> None:
    """Puts a folder there, and gives the files here the times that they have there."""
    store = Store(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write(str(path.relative_to(folder)), path.read_bytes())
    for name in store.names(""):
        time_ns = mtime_ns(store.info(name))
        os.utime(folder / name, ns=(time_ns, time_ns))


@pytest.fixture
def odd_tree(tmp_path, shared_clips) -> Path:
    """Everything that a tree can hold and an object store can name."""
    root = tmp_path / "my clips"
    for name in (
        *(f"train/a/frame{number}.png" for number in (10, 2, 1)),
        *("train/b #1?/1/x.PNG", "train/b #1?/1/notes.txt", "train/1/x.jpg", "dev/größe%20/x.webp"),
        *("test/mixed/x.png", "test/mixed/clip.mp4", "test/mixed/deeper/x.bmp", "loose/.hidden", "top.txt"),
        *("loose/y/1/x.png", "loose/y/2/x.png", ".git/x.png", "dev/.x.png"),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    shutil.copy(shared_clips / "videos/hand_landmarker_test_video.mp4", root / "dev/video.mp4")
    return root


def without_place(clip: Clip) -> Clip:
    return dataclasses.replace(clip, uri="-", num_frames=0 if clip.kind == "video" else clip.num_frames)


def test_a_remote_tree_is_found_as_a_local_one(odd_tree, s3_uri):
    here, _, query = s3_uri.partition("?")
    uri = f"{here}/my clips?{query}"
    upload(odd_tree, uri_of(f"{here}/my clips") + f"?{query}")
    local, remote = discover(Inputs(str(odd_tree))), discover(Inputs(uri))
    assert [without_place(clip) for clip in remote.clips] == [without_place(clip) for clip in local.clips]
    assert len(local.clips) == 10
    assert (remote.other_files, remote.hidden_files) == (local.other_files, local.hidden_files) == (2, 3)
    for far, near in zip(remote.clips, local.clips, strict=True):
        assert far.uri.isascii()
        assert location_of(far.uri) == f"{here}/my clips/{os.path.relpath(near.path, odd_tree)}"
    assert all(clip.split is None for clip in discover(Inputs(uri, split_from="none")).clips)


def test_a_folder_is_a_request_and_videos_are_none(moto):
    with FlakyS3(moto) as s3:
        uri = f"s3://bucket/many?{s3.query}"
        store = Store(uri)
        for number in range(20):
            store.write(f"train/{number % 4}/{number}.png", b"1")
            store.write(f"dev/{number}.mp4", b"1")
        s3.heal()
        s3.add(Fault("error", times=2, path="list-type"))
        s3.add(Fault("error", status=403, code="AccessDenied", path=r"train%2F3"))
        found = discover(Inputs(uri))
        assert len(found.clips) == 23
        assert found.unreadable == (("s3://bucket/many/train/3", "Permission denied"),)
        listed = [request.path for request in s3.requests if "delimiter" in request.path]
        assert len([path for path in listed if "max-keys=1000" in path]) <= 7 + 2 + 1
        assert not [request for request in s3.requests if "mp4" in request.path]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("s3://bucket/none", r"found nothing of that name"),
        ("s3://no-such-bucket/in", r"there is no bucket 'no-such-bucket'|NO_SUCH_BUCKET"),
        ("s3://bucket/file.mp4", r"found the file s3://bucket/file.mp4. Give its folder"),
        ("s3://bucket/texts", r"Found none of them, but 1 other files"),
        ("s3://bucket/a#b", r"write %23"),
    ],
)
def test_a_tree_that_cannot_be_had(place, text, s3_uri):
    query = s3_uri.partition("?")[2]
    Store(f"s3://bucket?{query}").write("file.mp4", b"1")
    Store(f"s3://bucket?{query}").write("texts/a.txt", b"1")
    with pytest.raises(JobError, match=text):
        discover(Inputs(f"{place}?{query}"))


def test_out_inside_frames(s3_uri):
    inside = s3_uri.replace("?", "/out?")
    with pytest.raises(JobError, match="lies inside FRAMES"):
        check(JobConfig(inside), Inputs(s3_uri), False)
    check(JobConfig(s3_uri.replace("?", "-out?")), Inputs(s3_uri), False)


@pytest.mark.parametrize("many_rows", [1, 1000])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_there(many_rows, ending, odd_tree, s3_uri, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_places, "_MANY_ROWS", many_rows)
    upload(odd_tree, s3_uri)
    folder, _, query = s3_uri.partition("?")
    rows = {
        "clip_id": ["a", "b", "hello", "gone", "part"],
        "uri": [
            *("train/a", "train/b #1?", uri_of(f"{folder}/test/mixed/clip.mp4"), "train/gone.mp4"),
            f"{folder}/dev/video.mp4/",
        ],
        "gloss": ["null", "", "C", "D", "E"],
        "start_frame": ["", "", "", "", "3"],
    }
    write_manifest(tmp_path / f"clips.{ending}", rows)
    Store(s3_uri).write(f"clips.{ending}", (tmp_path / f"clips.{ending}").read_bytes())
    clips = {
        clip.clip_id: clip for clip in discover(Inputs(manifest=f"{folder}/clips.{ending}?{query}")).clips
    }
    assert (clips["a"].uri, clips["a"].num_frames, clips["a"].gloss) == (f"{folder}/train/a", 3, "null")
    assert clips["b"].uri == f"{folder}/train/b%20%231%3F/1"
    assert (clips["hello"].kind, clips["hello"].uri) == ("video", f"{folder}/test/mixed/clip.mp4")
    assert (clips["gone"].kind, clips["gone"].fingerprint) == ("video", "")
    local = discover(Inputs(str(odd_tree)))
    prints = {clip.clip_id: clip.fingerprint for clip in local.clips}
    assert clips["a"].fingerprint == prints["train/a"]
    assert clips["hello"].fingerprint == prints["test/mixed/clip"]
    assert clips["part"].fingerprint not in ("", prints["dev/video"])


def write_manifest(path: Path, rows: dict[str, list[str]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(rows), path)
        return
    lines = [",".join(rows), *(",".join(row) for row in zip(*rows.values(), strict=True))]
    path.write_text("\n".join(lines))


def test_rows_of_a_manifest_here_that_lie_there(odd_tree, s3_uri, tmp_path, moto, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{moto[0]}:{moto[1]}")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    upload(odd_tree, s3_uri)
    folder = s3_uri.partition("?")[0]
    rows = {"clip_id": ["there", "here"], "uri": [f"{folder}/train/a", str(odd_tree / "train/a")]}
    write_manifest(tmp_path / "clips.csv", rows)
    here, there = discover(Inputs(manifest=str(tmp_path / "clips.csv"))).clips
    assert (here.fingerprint, here.num_frames) == (there.fingerprint, there.num_frames)
    assert here.fingerprint


@pytest.mark.parametrize("uri", ["s3://KEY:SECRET@bucket/a", "s3://bucket/a?region=x", "s3://bucket/a#1"])
def test_rows_hold_no_credentials(uri, tmp_path):
    (tmp_path / "clips.csv").write_text(f"clip_id,uri\na,{uri}\n")
    with pytest.raises(JobError, match=r"line 2: a uri is kept in the data set") as caught:
        discover(Inputs(manifest=str(tmp_path / "clips.csv")))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("foo://x/y", "foo://x: not a location that can be opened"),
        ("s3:///y", "expected the name of a bucket behind s3://"),
        ("s3://AKIA:UN/LIKELY@bucket/y", "found one with a colon"),
    ],
)
def test_a_row_that_names_no_place_is_told(uri, text, tmp_path):
    (tmp_path / "clips.csv").write_text(f"clip_id,uri\na,/a\nb,{uri}\n")
    with pytest.raises(JobError, match=rf"clips\.csv, line 3: .*{text}") as caught:
        discover(Inputs(manifest=str(tmp_path / "clips.csv")))
    assert "LIKELY" not in str(caught.value)


@pytest.mark.parametrize("many_rows", [1, 1000])
def test_a_row_in_no_bucket_is_a_clip_that_is_not_there(many_rows, s3_uri, monkeypatch):
    monkeypatch.setattr(remote_places, "_MANY_ROWS", many_rows)
    Store(s3_uri).write("clips.csv", b"clip_id,uri\na,s3://no-such-bucket/a\nb,s3://no-such-bucket/b.mp4\n")
    clips = discover(Inputs(manifest=s3_uri.replace("?", "/clips.csv?"))).clips
    assert [(clip.clip_id, clip.kind, clip.fingerprint) for clip in clips] == [
        ("a", "frames", ""),
        ("b", "video", ""),
    ]


def test_only_what_rows_name_is_kept_of_a_listing(s3_uri, monkeypatch):
    monkeypatch.setattr(remote_places, "_MANY_ROWS", 1)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        Store(s3_uri).write(name, b"1")
    places = RemotePlaces(Stores(s3_uri))
    places.foresee([f"{location_of(s3_uri)}/{name}" for name in ("a.mp4", "gone.mp4")])
    assert [os.path.basename(path) for path in places._files] == ["a.mp4"]


@pytest.fixture
def narrow(moto) -> Iterator[FlakyS3]:
    """A bucket of which one may list what is below ``mine/`` and get objects, but not list the top."""
    with FlakyS3(moto) as s3:
        Store(f"s3://bucket?{s3.query}").write("mine/a/0.png", b"1")
        Store(f"s3://bucket?{s3.query}").write("mine.csv", b"clip_id,uri\na,mine/a\n")
        s3.add(Fault("error", status=403, code="AccessDenied", path=r"^/bucket/?$", method="HEAD"))
        s3.add(Fault("error", status=403, code="AccessDenied", path=r"^/bucket/?\?(?!.*prefix=mine)"))
        yield s3


def test_the_right_to_the_place_itself_is_enough(narrow, tmp_path, monkeypatch):
    monkeypatch.setenv("LANDMARKS_MODELS", str(tmp_path))
    frames, manifest = f"s3://bucket/mine?{narrow.query}", f"s3://bucket/mine.csv?{narrow.query}"
    assert [clip.clip_id for clip in discover(Inputs(frames)).clips] == ["a"]
    assert [clip.clip_id for clip in discover(Inputs(manifest=manifest)).clips] == ["a"]
    config = JobConfig(str(tmp_path / "out"), DetectorOptions(engine="os:getcwd", model=manifest))
    assert with_model_here(config).model_uri == manifest
    with pytest.raises(JobError, match="the right to list and read there"):
        discover(Inputs(f"s3://bucket/other?{narrow.query}"))


@pytest.mark.parametrize("name", ["frames", "manifest", "annotations"])
def test_what_is_no_place_is_refused_without_showing_it(name):
    for uri in ("s3://AKIA:UN/LIKELY@bucket/x", "s3:///LIKELY", "s3://[LIKELY/x"):
        with pytest.raises(JobError, match=r"expected the name of a bucket|Invalid IPv6 URL") as caught:
            Inputs(**{name: uri})
        assert "LIKELY" not in str(caught.value)


def test_a_manifest_that_is_not_there(s3_uri):
    with pytest.raises(
        JobError, match=r"^s3://bucket/\w+/none.csv: expected a manifest, there is no such file"
    ):
        discover(Inputs(manifest=s3_uri.replace("?", "/none.csv?")))
    Store(s3_uri).write("bad.csv", b"clip_id\na\n")
    with pytest.raises(JobError, match=r"^s3://bucket/\w+/bad.csv: expected the columns"):
        discover(Inputs(manifest=s3_uri.replace("?", "/bad.csv?")))
