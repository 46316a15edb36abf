"""INCLUDE: isolated signs of Indian Sign Language."""

from collections.abc import Iterator, Mapping
from posixpath import splitext

from extraction.sources.datasets.annotation import Annotation, Source, cell
from extraction.sources.datasets.layout import Layout, per_split
from extraction.sources.tables import COMMAS, read_table

_COLUMNS = ("Word", "FilePath")


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    for split, path in files.items():
        for line, cells in read_table(path, COMMAS, _COLUMNS, "a list of INCLUDE's videos"):
            clip_id = splitext(cells["FilePath"])[0]
            yield Annotation(
                clip_id,
                (Source(clip_id),),
                split,
                gloss=cell(cells, "Word"),
                label=cell(cells, "Word"),
                where=f"{path}, line {line}",
            )


LAYOUT = Layout(
    name="include",
    title="INCLUDE (Indian Sign Language, isolated)",
    lies=(
        "{train,val,test}_include.csv, with the columns Category, Word, Video and FilePath",
        "<Category>/<number>. <word>/MVI_<number>.MOV, at any depth",
    ),
    licence="see its page",
    home="https://zenodo.org/record/4010759",
    files=per_split(
        r"{split}_include\.csv",
        "{split}_include.csv",
        r".*\bFilePath\b",
        {"train": "train", "val": "val(?:idation)?", "test": "test"},
    ),
    read=_read,
    # Sridhar et al., INCLUDE, ACM Multimedia 2020.
    counts_from="its paper names 4,287 videos of 263 signs, and no splits",
)
