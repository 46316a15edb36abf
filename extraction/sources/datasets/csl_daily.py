"""CSL-Daily: Chinese Sign Language of daily life, with glosses and translations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from extraction.errors import JobError
from extraction.sources.datasets.annotation import Annotation, Hole, Source, expect_split
from extraction.sources.datasets.layout import AnnotationFile, Expected, Layout
from extraction.sources.tables import PIPES, read_table
from extraction.untrusted_pickle import load_plain

_MAP_COLUMNS = ("name", "length", "gloss", "char")
_LARGEST = 10**9
"""Frames; a year of video at 30 a second."""


@dataclass(frozen=True, slots=True)
class _Label:
    gloss: str
    text: str
    signer: str | None
    num_frames: int | None


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    path = files.get("labels") or files["map"]
    labels = _labels_of(path) if "labels" in files else _labels_of_map(path)
    splits: dict[str, str] = {}
    if "splits" in files:
        rows = read_table(files["splits"], PIPES, ("name", "split"), "CSL-Daily's list of splits")
        for line, cells in rows:
            expect_split(cells["split"], f"{files['splits']}, line {line}")
            splits.setdefault(cells["name"], cells["split"])
    seen = set()
    for name, label in labels:
        seen.add(name)
        yield _annotation(name, splits.get(name), label, path, "splits" in files)
    for name, split in splits.items():
        if name not in seen:
            yield _annotation(name, split, None, files["splits"], True)


def _annotation(
    name: str, split: str | None, label: _Label | None, where: str, has_splits: bool
) -> Annotation:
    holes: tuple[Hole, ...] = ()
    if label is None:
        holes = (Hole("no-label", name, f"in no annotation, but in the split {split}"),)
    elif split is None and has_splits:
        holes = (Hole("no-split", name, "annotated, but in the list of no split"),)
    return Annotation(
        name,
        (Source(name),),
        split,
        signer=label.signer if label else None,
        gloss=label.gloss if label else None,
        text=label.text if label else None,
        num_frames=label.num_frames if label else None,
        where=where,
        holes=holes,
    )


def _labels_of(path: str) -> Iterator[tuple[str, _Label]]:
    try:
        with open(path, "rb") as file:
            content = load_plain(file, path)
    except OSError as error:
        raise JobError(f"{path}: expected a pickle of annotations, found: {error.strerror}.") from error
    info = content.get("info") if isinstance(content, dict) else None
    if not isinstance(info, list):
        raise JobError(f"{path}: expected a dictionary with the list 'info', found {_kind(content)}.")
    for number, item in enumerate(info):
        try:
            signer, length = item.get("signer"), item.get("length")
            yield (
                str(item["name"]),
                _Label(
                    " ".join(_texts(item["label_gloss"])),
                    "".join(_texts(item["label_char"])),
                    None if signer is None else str(signer),
                    None if length is None else _num_frames(length),
                ),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise JobError(
                f"{path}, info[{number}]: expected a dictionary with name, label_gloss, label_char, signer "
                f"and length: {error!r}."
            ) from error


def _num_frames(value: Any) -> int:
    if not 0 <= (number := int(value)) < _LARGEST:
        raise ValueError(f"no number of frames: {number}")
    return number


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise TypeError(f"expected a list of texts, found {_kind(value)}")


def _kind(value: object) -> str:
    return type(value).__name__


def _labels_of_map(path: str) -> Iterator[tuple[str, _Label]]:
    for line, cells in read_table(path, PIPES, _MAP_COLUMNS, "CSL-Daily's video_map.txt"):
        try:
            length = _num_frames(cells["length"])
        except ValueError as error:
            raise JobError(f"{path}, line {line}: expected a length, found {cells['length']!r}.") from error
        yield cells["name"], _Label(cells["gloss"], "".join(cells["char"].split(" ")), None, length)


LAYOUT = Layout(
    name="csl-daily",
    title="CSL-Daily (Chinese Sign Language)",
    lies=(
        "sentence_label/csl2020ct_v2.pkl (or video_map.txt, which lacks the signers)",
        "sentence_label/split_1.txt",
        "sentence/frames_512x512/<name>/000000.jpg (or sentence_frames-512x512/<name>)",
    ),
    licence="research only, on a signed agreement; see its page",
    home="http://home.ustc.edu.cn/~zhouh156/dataset/csl-daily/",
    files=(
        AnnotationFile("labels", r"csl2020ct_v2\.pkl", "csl2020ct_v2.pkl"),
        AnnotationFile("map", r"video_map\.txt", "video_map.txt", r"index\|name\|length\|"),
        AnnotationFile("splits", r"split_1\.txt", "split_1.txt", r"name\|split", is_enough=False),
    ),
    read=_read,
    media=(r"frames_512x512", r"sentence_frames-512x512"),
    inner=("sentence", "sentence_label"),
    expected={"train": Expected(18_401), "dev": Expected(1077), "test": Expected(1176)},
    # Zhou et al., Improving Sign Language Translation with Monolingual Data, CVPR 2021: 20,654 in all.
    counts_from="rows of split_1.txt",
    fps=30.0,
)
