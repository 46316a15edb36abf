"""PHOENIX-2014-T: German Sign Language of weather forecasts, with glosses and translations."""

from collections.abc import Iterator, Mapping

from extraction.sources.datasets.annotation import Annotation, Source, cell
from extraction.sources.datasets.layout import Expected, Layout, per_split
from extraction.sources.tables import PIPES, read_table

_COLUMNS = ("name", "speaker", "orth", "translation")


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    for split, path in files.items():
        for line, cells in read_table(path, PIPES, _COLUMNS, "a corpus file of PHOENIX-2014-T"):
            clip_id = f"{split}/{cells['name']}"
            yield Annotation(
                clip_id,
                (Source(clip_id),),
                split,
                signer=cell(cells, "speaker"),
                gloss=cell(cells, "orth"),
                text=cell(cells, "translation"),
                where=f"{path}, line {line}",
            )


LAYOUT = Layout(
    name="phoenix-2014-t",
    title="RWTH-PHOENIX-Weather 2014 T (German Sign Language)",
    lies=(
        "PHOENIX-2014-T/annotations/manual/PHOENIX-2014-T.{train,dev,test}.corpus.csv",
        "PHOENIX-2014-T/features/fullFrame-210x260px/{train,dev,test}/<name>/images0001.png",
    ),
    licence="not commercial; see its page",
    home="https://www-i6.informatik.rwth-aachen.de/~koller/RWTH-PHOENIX-2014-T/",
    files=per_split(
        r"PHOENIX-2014-T\.{split}\.corpus\.csv",
        "PHOENIX-2014-T.{split}.corpus.csv",
        r"name\|",
        {"train": "train", "dev": "dev", "test": "test"},
    ),
    read=_read,
    media=(r"fullFrame-210x260px", r"fullFrame-\d+x\d+px"),
    inner=("features", "annotations", "manual"),
    expected={
        "train": Expected(7096, 827_354),
        "dev": Expected(519, 55_775),
        "test": Expected(642, 64_627),
    },
    # Camgoz et al., Neural Sign Language Translation, CVPR 2018, statistics of the data set.
    counts_from="its makers' paper of 2018",
    fps=25.0,
)
