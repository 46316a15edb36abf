"""PHOENIX-2014, multisigner: German Sign Language of weather forecasts, with glosses."""

from collections.abc import Iterator, Mapping

from extraction.sources.datasets.annotation import Annotation, Source, cell
from extraction.sources.datasets.layout import Expected, Layout, per_split
from extraction.sources.tables import PIPES, read_table

_COLUMNS = ("id", "folder", "signer", "annotation")


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    for split, path in files.items():
        for line, cells in read_table(path, PIPES, _COLUMNS, "a corpus file of PHOENIX-2014"):
            clip_id = f"{split}/{cells['id']}"
            yield Annotation(
                clip_id,
                (Source(clip_id),),
                split,
                signer=cell(cells, "signer"),
                gloss=cell(cells, "annotation"),
                where=f"{path}, line {line}",
            )


LAYOUT = Layout(
    name="phoenix-2014",
    title="RWTH-PHOENIX-Weather 2014, multisigner (German Sign Language)",
    lies=(
        "phoenix2014-release/phoenix-2014-multisigner/annotations/manual/{train,dev,test}.corpus.csv",
        "phoenix2014-release/phoenix-2014-multisigner/features/fullFrame-210x260px/{train,dev,test}/<id>/1/*.png",
    ),
    licence="not commercial; see its page",
    home="https://www-i6.informatik.rwth-aachen.de/~koller/RWTH-PHOENIX/",
    files=per_split(
        r"{split}\.corpus\.csv",
        "{split}.corpus.csv",
        r"id\|folder\|",
        {"train": "train", "dev": "dev", "test": "test"},
    ),
    read=_read,
    media=(r"fullFrame-210x260px", r"fullFrame-\d+x\d+px"),
    inner=("features", "annotations", "manual"),
    expected={"train": Expected(5672), "dev": Expected(540), "test": Expected(629)},
    # Koller et al., Continuous sign language recognition, CVIU 141, 2015, and the rows of its corpus files.
    counts_from="rows of its corpus files",
    known_bad={
        "train/13April_2011_Wednesday_tagesschau_default-14": "its glosses do not fit its frames; the "
        "field's loaders leave it out"
    },
    fps=25.0,
)
