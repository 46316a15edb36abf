"""Spoilt inputs of every kind end in this project's own errors: no other exception, no crash, no hang.

Each kind is fuzzed in a process of its own, so that a crash of native code is seen. A case depends on nothing
but the seed and its number. FUZZ_SECONDS (for each kind) and FUZZ_SEED make a longer run; a failure says how
to repeat it.
"""

import copy
import faulthandler
import io
import itertools
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.once

SEED = int(os.environ.get("FUZZ_SEED", "20261121"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "2.5"))
MAX_PIXELS = 10**6
HANG_S = 30
MAX_RSS_MB = 1000


class Case(NamedTuple):
    """A spoilt input, and what is done with it."""

    data: bytes
    check: Callable[[bytes], object]


def mutated(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A few changes of the kinds that have broken parsers."""
    new = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8, 30))):
        if new:
            chance.choice(CHANGES)(chance, new, chance.randrange(len(new)), chance.choice(others))
    return bytes(new)


def _flip_a_bit(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    new[at] ^= 1 << chance.randrange(8)


def _put_noise(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    noise = chance.randbytes(chance.choice(LENGTHS))
    new[at : at + len(noise)] = noise


def _put_a_number(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    number = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
    new[at : at + 4] = struct.pack(chance.choice(("<I", ">I")), number)


def _put_one_byte_often(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    many = chance.choice((b"\0", b"\xff", b"-", b"9")) * chance.choice(LENGTHS)
    new[at : at + len(many)] = many


def _put_a_piece_of_another(chance: random.Random, new: bytearray, at: int, other: bytes) -> None:
    length, start = chance.choice(LENGTHS), chance.randrange(len(other))
    new[at : at + length] = other[start : start + length]


def _take_away(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    del new[at : at + chance.choice((*LENGTHS, len(new)))]


def _repeat(chance: random.Random, new: bytearray, at: int, _: bytes) -> None:
    new[at:at] = new[at : at + chance.choice(LENGTHS)] * chance.choice((1, 2, 50))


LENGTHS = (1, 2, 4, 8, 64, 1024)
CHANGES = (
    _flip_a_bit,
    _put_noise,
    _put_a_number,
    _put_one_byte_often,
    _put_a_piece_of_another,
    _take_away,
    _repeat,
)


def images() -> Iterator[Callable[[random.Random], Case]]:
    import numpy as np
    from PIL import Image

    from extraction.images import UnreadableFrame, decode_image

    ramp = np.indices((37, 53)).sum(0).astype(np.uint8)
    rgb = np.stack([ramp * 3, ramp * 5, ramp * 7], 2)
    seeds = []
    for picture, fmt, options in (
        (Image.fromarray(rgb), "PNG", {}),
        (Image.fromarray(rgb).quantize(16), "PNG", {}),
        (Image.fromarray(ramp).convert("1"), "PNG", {}),
        (Image.fromarray(rgb).convert("RGBA"), "PNG", {}),
        (Image.fromarray(rgb), "JPEG", {}),
        (Image.fromarray(rgb), "JPEG", {"progressive": True}),
        (Image.fromarray(rgb).convert("CMYK"), "JPEG", {}),
        (Image.fromarray(ramp), "JPEG", {}),
        (Image.fromarray(rgb), "WEBP", {}),
        (Image.fromarray(rgb), "WEBP", {"lossless": True}),
        (
            Image.fromarray(rgb).convert("RGBA"),
            "WEBP",
            {"save_all": True, "append_images": [Image.fromarray(rgb)]},
        ),
        (Image.fromarray(rgb), "BMP", {}),
        (Image.fromarray(rgb).quantize(16), "BMP", {}),
        (Image.fromarray(ramp).convert("1"), "BMP", {}),
        (Image.fromarray(rgb), "TIFF", {}),
        (Image.fromarray(rgb), "TIFF", {"compression": "tiff_lzw"}),
        (Image.fromarray(rgb).convert("RGBA"), "TIFF", {"compression": "tiff_adobe_deflate"}),
    ):
        buffer = io.BytesIO()
        picture.save(buffer, fmt, **options)
        seeds.append(buffer.getvalue())

    def check(data: bytes) -> None:
        try:
            image = decode_image(data, MAX_PIXELS)
        except UnreadableFrame as error:
            assert str(error)  # noqa: PT017
        else:
            assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
            assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS

    def case(chance: random.Random) -> Case:
        data = mutated(chance, chance.choice(seeds), seeds)
        if data.startswith(b"\x89PNG") and chance.random() < 0.7:
            data = with_right_checksums(data)  # what is behind them is only reached so
        return Case(data, check)

    while True:
        yield case


def with_right_checksums(png: bytes) -> bytes:
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + png[at:]


def video_bytes(container_format: str, codec: str) -> bytes:
    import av
    import numpy as np

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_format) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
        for number in range(6):
            image = np.full((48, 64, 3), number * 40, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def videos() -> Iterator[Callable[[random.Random], Case]]:
    from extraction.clips import Clip
    from extraction.errors import ClipError
    from extraction.frames import FrameOptions, open_frames
    from extraction.sources.video_file import claimed_num_frames

    kinds = [
        ("mp4", "mpeg4"),
        ("mp4", "libx264"),
        ("mkv", "mpeg4"),
        ("avi", "mjpeg"),
        ("webm", "libvpx"),
        ("mov", "png"),
    ]
    seeds = []
    for container_format, codec in kinds:
        name = {"mkv": "matroska"}.get(container_format, container_format)
        seeds.append((container_format, video_bytes(name, codec)))
    everything = [data for _, data in seeds]

    def case(chance: random.Random) -> Case:
        extension, data = chance.choice(seeds)

        def check(spoilt: bytes) -> None:
            path = Path(f"video.{extension}")
            path.write_bytes(spoilt)
            assert claimed_num_frames(str(path)) >= 0
            try:
                stream = open_frames(
                    Clip("v", str(path.resolve()), "video"), FrameOptions(max_pixels=MAX_PIXELS)
                )
            except ClipError:
                return
            for frame in itertools.islice(stream.frames, 500):
                assert (frame.image is None) != (frame.error is None)
                assert math.isfinite(frame.timestamp_ms)

        return Case(mutated(chance, data, everything), check)

    while True:
        yield case


CSV = """clip_id,uri,split,signer,gloss,text,fps
a,clips/a,train,Signer01,HALLO,"Guten ""Tag"", sagte er",25
b,film.mp4,dev,2,,zwei,29.97
c,../c,,,,,
d,file:///tmp/caf%E9,test,,NULL,\u624b\u8a71,1e3
"""


def manifests_of(reader: Callable[[str], object], name: str, seeds: list[bytes]):
    from extraction.errors import JobError
    from extraction.sources import clips_from_rows

    def check(data: bytes) -> None:
        Path(name).write_bytes(data)
        try:
            found = clips_from_rows(reader(name), base=os.getcwd(), source=name, num_threads=1)
        except JobError as error:
            assert name in str(error) or "two inputs" in str(error)  # noqa: PT017
        else:
            inside = [clip for clip in found.clips if not clip.uri.startswith(("/", "file:///"))]
            assert not inside

    def case(chance: random.Random) -> Case:
        return Case(mutated(chance, chance.choice(seeds), seeds), check)

    while True:
        yield case


def csv_manifests() -> Iterator[Callable[[random.Random], Case]]:
    from extraction.sources import read_csv_manifest

    os.makedirs("clips/a")
    yield from manifests_of(
        read_csv_manifest,
        "clips.csv",
        [CSV.encode(), CSV.encode("utf-16"), CSV.replace("\n", "\r\n").encode()],
    )


def parquet_manifests() -> Iterator[Callable[[random.Random], Case]]:
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    from storage.manifest import read_parquet_manifest

    rows = {
        "clip_id": ["a", "b", "c"],
        "uri": ["clips/a", "b.mp4", "/c"],
        "fps": [25.0, None, 1.0],
        "text": ["x", None, "\u624b"],
    }
    odd = {
        "when": pa.array([datetime.datetime(2020, 1, 1)] * 3, pa.timestamp("ns", "UTC")),
        "day": pa.array([datetime.date(2020, 1, 1)] * 3),
        "nested": pa.array([[{"a": 1}], None, []]),
        "amount": pa.array([1, 2, 3], pa.decimal128(38, 3)),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
    seeds = []
    for table, options in (
        (pa.table(rows), {"compression": "none"}),
        (pa.table({**rows, **odd}), {"compression": "none", "use_dictionary": False}),
        (pa.table(rows), {"compression": "snappy", "data_page_version": "2.0"}),
    ):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **options)
        seeds.append(buffer.getvalue())
    yield from manifests_of(read_parquet_manifest, "clips.parquet", seeds)


def data_sets() -> Iterator[Callable[[random.Random], Case]]:
    import numpy as np

    from extraction.clips import Clip
    from extraction.errors import JobError, LandmarksError
    from extraction.landmarks import ClipLandmarks
    from storage.dataset import Dataset
    from storage.plan import Plan
    from storage.rows import Provenance, encode
    from storage.running import JobMark, WorkerStatus, count_start, report, reports, running_job
    from storage.shards import Failure, write_shard
    from storage.summary import progress

    dataset = Dataset("out")
    clips = tuple(Clip(name, f"/in/{name}", "frames", "train", 3) for name in "abc")
    landmarks = ClipLandmarks(
        *(0, 25.0, np.arange(3) * 40.0, ("1", "2", "3"), np.zeros(3, np.int8), (None,) * 3),
        np.full((3, 2), 200, np.int32),
        {"pose": np.zeros((3, 33, 3), np.float32)},
        np.zeros((3, 33), np.float32),
    )
    row = encode(clips[0], landmarks, Provenance("holistic", "0", "0f", "cpu", 1, 3.0, 1.0, 2.0, "host", ""))
    mark = JobMark(dataset.store)
    mark.take()
    dataset.create({"engine": "holistic", "fps": 25.0}, "0f", {"source": "/in"})
    dataset.write_plan(Plan(clips, (0, 0, 1)))
    failure = Failure("b", "/in/b", "train", "decode", "broken", "it is broken", 1)
    write_shard(dataset.store, 0, "train", {"pose": 33}, [[row], failure], mark.check)
    report(dataset.store, WorkerStatus("w", 1, clip_id="c", child_pid=1))
    count_start(dataset.store, 1)
    whole = {name: dataset.store.read(name) for name in dataset.store.names("")}
    questions: tuple[Callable[[Dataset], object], ...] = (
        lambda found: found.config(),
        lambda found: found.check_options({"engine": "holistic"}),
        lambda found: found.plan(),
        lambda found: [found.planned_clips(number) for number in (0, 1)],
        lambda found: found.failures().to_pylist(),
        lambda found: [found.read_clip(name) for name in "abc"],
        lambda found: found.clips(["train"]).schema,
        lambda found: progress(found),
        lambda found: running_job(found.store),
        lambda found: [status.frames + 1 for status in reports(found.store)],
        lambda found: JobMark(found.store).expect_free(),
        lambda found: count_start(found.store, 1),
    )

    def case(chance: random.Random) -> Case:
        name = chance.choice(sorted(whole))

        def check(data: bytes) -> None:
            Path("out", name).write_bytes(data)
            for question in questions:
                try:
                    question(Dataset.open("out"))
                except LandmarksError as error:
                    assert isinstance(error, JobError)  # noqa: PT017
            for other, bytes_before in whole.items():
                Path("out", other).write_bytes(bytes_before)

        if name.endswith(".json") and chance.random() < 0.7:
            return Case(mutated_json(chance, whole[name]), check)
        return Case(mutated(chance, whole[name], list(whole.values())), check)

    while True:
        yield case


def mutated_json(chance: random.Random, data: bytes) -> bytes:
    """A value replaced by one of another type or size, or a name taken away: still JSON."""
    strange = (None, True, -1, 0, 1e308, 10**400, "", "\ud800", [], {}, [[]] * 3, {"a": {}}, "x" * 5000, 0.5)
    value = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = value
        while isinstance(place, dict) and place:
            name = chance.choice(sorted(place))
            if isinstance(place[name], dict) and chance.random() < 0.7:
                place = place[name]
                continue
            if chance.random() < 0.2:
                del place[name]
            else:
                place[name] = copy.deepcopy(chance.choice(strange))
            break
    text = json.dumps(value)
    if chance.random() < 0.1:
        text = re.sub(r"\d+", chance.choice(("NaN", "Infinity", "1e999", "9" * 5000)), text, count=1)
    if chance.random() < 0.05:
        text = "[" * 100_000
    return text.encode("utf-8", "surrogatepass")


KINDS = {f.__name__: f for f in (images, videos, csv_manifests, parquet_manifests, data_sets)}


def fuzz(kind: str, seed: int, seconds: float, first: int) -> int:
    """Goes through cases until time is up; ends at the first that goes wrong, which stands in ``input``."""
    make_case = next(KINDS[kind]())
    began = time.monotonic()
    number = first
    while time.monotonic() - began < seconds or number == first:
        case = make_case(random.Random(f"{kind} {seed} {number}"))
        Path("input").write_bytes(case.data)
        Path("number").write_text(str(number))
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            case.check(case.data)
        except BaseException:
            traceback.print_exc()
            return 1
        faulthandler.cancel_dump_traceback_later()
        number += 1
    peak_mb = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10
    passed = f"{number - first} cases of seed {seed} in {time.monotonic() - began:.1f} s"
    print(f"{kind}: {passed}, at most {peak_mb} MiB")
    return 0 if peak_mb < MAX_RSS_MB else 1


@pytest.mark.timeout(60 + 2 * SECONDS)
@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_input_ends_in_an_error_of_ours(kind, tmp_path):
    # -P: beside this file lie folders named as the packages.
    command = [sys.executable, "-P", "-X", "faulthandler", __file__, kind, SEED, SECONDS, 0]
    with open(tmp_path / "said", "w+b") as said:
        done = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60 + SECONDS,
        )
        said.seek(0)
        words = said.read().decode("utf-8", "replace")
    print(words[-500:])
    if done.returncode:
        number = (tmp_path / "number").read_text() if (tmp_path / "number").exists() else "0"
        again = f"{Path(sys.executable).name} -P {__file__} {kind} {SEED} 0 {number}"
        pytest.fail(
            f"{kind}, seed {SEED}, case {number}: exit code {done.returncode}. Its bytes: {tmp_path}/input. "
            f"Again, in an empty folder: {again}\n{words[-3000:]}",
            pytrace=False,
        )


# What such runs have found.


def test_a_codec_that_cannot_be_opened_is_not_asked_for_its_name(tmp_path):
    """A segmentation fault with PyAV 19: an AVI header that says raw video of 3 bits a pixel."""
    data = bytearray(video_bytes("avi", "mjpeg"))
    # BITMAPINFOHEADER behind "strf" and its length: size, width, height, planes, bits, compression.
    struct.pack_into("<iiHHI", data, data.index(b"strf") + 12, 64, 48, 1, 3, 0)
    (tmp_path / "raw.avi").write_bytes(data)
    code = """
import sys
from extraction.clips import Clip
from extraction.frames import FrameOptions, open_frames
for frame in open_frames(Clip("raw", sys.argv[1], "video"), FrameOptions()).frames:
    print(frame.error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "raw.avi")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["video damaged"] * 6


if __name__ == "__main__":
    sys.exit(fuzz(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
