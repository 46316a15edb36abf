"""How2Sign: American Sign Language of instructions, with translations."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from extraction.errors import JobError
from extraction.sources.datasets.annotation import Annotation, Hole, Source, cell
from extraction.sources.datasets.layout import Expected, Layout, per_split
from extraction.sources.tables import TABS, read_table

_COLUMNS = ("VIDEO_NAME", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE")


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    for split, path in files.items():
        for line, cells in read_table(path, TABS, _COLUMNS, "a file of How2Sign's realigned sentences"):
            where = f"{path}, line {line}"
            start_ms, end_ms = (_ms(cells[f"{name}_REALIGNED"], where) for name in ("START", "END"))
            uncut = Source(cells["VIDEO_NAME"], start_ms=start_ms, end_ms=end_ms)
            cut = Source(cells["SENTENCE_NAME"])
            # Some sentences end before they begin; of an uncut video that is no clip.
            is_range = start_ms < end_ms
            times = f"{where}: {cells['START_REALIGNED']} s to {cells['END_REALIGNED']} s is no range"
            yield Annotation(
                cells["SENTENCE_NAME"],
                (cut, uncut) if is_range else (cut,),
                split,
                text=cell(cells, "SENTENCE"),
                where=where,
                holes=() if is_range else (Hole("no-range", cells["SENTENCE_NAME"], times),),
            )


def _ms(seconds: str, where: str) -> float:
    """Seconds as they are written, in milliseconds; in decimals, so that 4.35 s are 4350 ms."""
    try:
        value = Decimal(seconds)
        if value.is_finite() and 0 <= value < 1_000_000:
            return float(value * 1000)
    except InvalidOperation:
        pass
    raise JobError(f"{where}: expected a time in seconds, found {seconds!r}.")


LAYOUT = Layout(
    name="how2sign",
    title="How2Sign, realigned (American Sign Language)",
    lies=(
        "how2sign_realigned_{train,val,test}.csv, anywhere below ROOT",
        "raw_videos/<SENTENCE_NAME>.mp4, anywhere below ROOT, or",
        "<VIDEO_NAME>.mp4, uncut: clips are then the sentences' ranges of time",
    ),
    licence="not commercial; see its page",
    home="https://how2sign.github.io/",
    files=per_split(
        r"how2sign_realigned_{split}\.csv",
        "how2sign_realigned_{split}.csv",
        r"VIDEO_ID\t",
        {"train": "train", "val": "val", "test": "test"},
    ),
    read=_read,
    inner=("raw_videos", "rgb_front", "sentence_level", "video_level"),
    expected={"train": Expected(31_165), "val": Expected(1741), "test": Expected(2357)},
    # github.com/how2sign/how2sign.github.io, issue 23: 31,048, 1,739 and 2,343 cut clips of so many rows.
    counts_from="rows of its realigned files, as its users count them; its cut clips lack 133 of them",
)
