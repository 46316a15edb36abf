import os
from pathlib import Path

import pytest

from extraction.clips import Clip
from extraction.errors import JobError
from extraction.sources import clips_from_rows, read_csv_manifest


def load(folder: Path, text: str | bytes, *, allow_outside: bool = False) -> tuple[Clip, ...]:
    path = folder / "clips.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    rows = read_csv_manifest(str(path))
    return clips_from_rows(rows, base=str(folder), source=str(path), allow_outside=allow_outside).clips


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_every_column_arrives_as_written(tmp_path: Path) -> None:
    write(tmp_path, "a b/f2.png", "a b/f10.png", "film.mp4", "phoenix/1/f1.png")
    clips = load(
        tmp_path,
        "\ufeffuri,clip_id,split,signer,gloss,text,fps,notes\r\n"
        'a b,c10,train,Signer01,NULL,"null, und ""nichts""\nzwei ",25,x\r\n'
        "film.mp4,c9,,,,,29.97,x\r\n"
        "\r\n"
        "phoenix,c1,dev-2.x,NA,nan,,,x\r\n",
    )
    assert [clip.clip_id for clip in clips] == ["c1", "c9", "c10"]
    phoenix, film, frames = clips
    assert (frames.text, frames.gloss, frames.signer) == ('null, und "nichts"\nzwei ', "NULL", "Signer01")
    assert (frames.fps, frames.split, frames.num_frames) == (25.0, "train", 2)
    assert (film.kind, film.fps, film.split, film.text, film.gloss) == ("video", 29.97, None, None, None)
    assert film.fingerprint
    assert (phoenix.path, phoenix.num_frames) == (str(tmp_path / "phoenix/1"), 1)
    assert (phoenix.signer, phoenix.gloss, phoenix.fps) == ("NA", "nan", None)


@pytest.mark.parametrize(("uri", "kind"), [("none", "frames"), ("none.MP4", "video"), ("pipe", "frames")])
def test_a_missing_input_is_a_clip_that_will_fail(tmp_path: Path, uri: str, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (clip,) = load(tmp_path, f"clip_id,uri\nx,{uri}\n")
    assert (clip.kind, clip.num_frames, clip.fingerprint) == (kind, 0, "")
    assert clip.path == str(tmp_path / uri)


def test_absolute_paths_and_file_uris(tmp_path: Path) -> None:
    write(tmp_path, "a b/f.png", "sub/x")
    uris = [str(tmp_path / "a b"), "file://" + str(tmp_path / "a b").replace(" ", "%20"), "../a b"]
    text = "clip_id,uri\n" + "".join(f"{n},{uri}\n" for n, uri in enumerate(uris))
    clips = load(tmp_path / "sub", text, allow_outside=True)
    assert [clip.path for clip in clips] == [str(tmp_path / "a b")] * 3
    assert [clip.num_frames for clip in clips] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"lacks \['clip_id', 'uri'\]"),
        ("clip_id,split\nx,train\n", r"lacks \['uri'\]"),
        ("clip_id;uri\nx;y\n", r"separated by commas.*'clip_id;uri'"),
        ("clip_id,uri,uri\n", r"has \['uri'\] twice"),
        ("clip_id,uri\n", "found none"),
        ("clip_id,uri\nx,y\n,z\n", "line 3: clip_id must not be empty"),
        ("clip_id,uri\n  ,z\n", "line 2: clip_id must not be empty"),
        ("clip_id,uri\n../x,z\n", "line 2: clip_id must be a name"),
        ("clip_id,uri\n/x,z\n", "line 2: clip_id must be a name"),
        (f"clip_id,uri\n{'7' * 5000},z\n", "line 2: clip_id may be 4096"),
        ('clip_id,uri,text\nx,y,"a\nb"\nx,z,t\n', "line 4: clip_id 'x' stands on line 2 too"),
        ("clip_id,uri\nx,\n", "line 2: uri must not be empty"),
        ("clip_id,uri\nx,a/../../b\n", "line 2: uri 'a/../../b' leaves"),
        ("clip_id,uri\nx,s3://bucket/b\n", "line 2: uri must be a path or"),
        ("clip_id,uri\nx,file://b\n", "line 2: uri must be a path or"),
        ("clip_id,uri,split\nx,y,a/b\n", "line 2: split may hold"),
        ("clip_id,uri,text\nx,y,a,b\n", "line 2: expected 3 cells, found 4"),
        ("clip_id,uri,text\nx,y\n", "line 2: expected 3 cells, found 2"),
        ('clip_id,uri\nx,"y\n', "not well-formed CSV"),
        (b"clip_id,uri\nx,caf\xe9\n", "line 2: not UTF-8"),
        *[
            (f"clip_id,uri,fps\nx,y,{fps}\n", "line 2: fps must be a number above 0")
            for fps in ("0", "-1", "nan", "inf", "fast", "2_5", "1e999")
        ],
    ],
)
def test_a_manifest_that_cannot_be_meant(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(JobError, match=words) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "clips.csv") in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="expected a manifest, found: No such file"):
        list(read_csv_manifest(str(tmp_path / "none.csv")))


def test_rows_with_types_as_parquet_has_them(tmp_path: Path) -> None:
    rows = [(1, {"clip_id": 7, "uri": "a", "signer": 3, "fps": 12.5, "text": None, "other": b"x"})]
    (clip,) = clips_from_rows(rows, base=str(tmp_path), source="t.parquet", numbered_by="row").clips
    assert (clip.clip_id, clip.signer, clip.fps, clip.text) == ("7", "3", 12.5, None)
    for cells in ({"signer": 3.0}, {"text": b"x"}, {"fps": True}, {"gloss": True}):
        with pytest.raises(JobError, match=r"t\.parquet, row 1: "):
            clips_from_rows(
                [(1, {"clip_id": "a", "uri": "b", **cells})],
                base=str(tmp_path),
                source="t.parquet",
                numbered_by="row",
            )
