"""Folders of frames and folders of videos, with or without a table that says more of each clip."""

from collections.abc import Iterator, Mapping

from extraction.sources.datasets.annotation import Annotation, Source, cell
from extraction.sources.datasets.layout import AnnotationFile, Layout
from extraction.sources.tables import COMMAS, TABS, read_table


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    for path in files.values():
        form = TABS if path.lower().endswith(".tsv") else COMMAS
        for line, cells in read_table(path, form, ("clip_id",), "a table of annotations"):
            yield Annotation(
                cells["clip_id"],
                (Source(cells["clip_id"]),),
                split=cell(cells, "split"),
                signer=cell(cells, "signer"),
                gloss=cell(cells, "gloss"),
                text=cell(cells, "text"),
                label=cell(cells, "label"),
                where=f"{path}, line {line}",
            )


_FILE = AnnotationFile(
    "table", r".*\.[ct]sv", "--annotations FILE, a CSV or TSV with clip_id", r".*\bclip_id\b"
)


def _layout(name: str, title: str, lies: str) -> Layout:
    return Layout(
        name=name,
        title=title,
        lies=(lies, "--annotations FILE, where there is one: a CSV or TSV with clip_id, signer, gloss, ..."),
        licence="your own",
        home="",
        files=(_FILE,),
        read=_read,
        takes_all=True,
    )


FRAMES = _layout("frames", "Any tree of folders of images", "<clip>/<frame>.png, at any depth")
VIDEOS = _layout("videos", "Any tree of video files", "<clip>.mp4, at any depth")

KINDS: Mapping[str, str] = {"frames": "frames", "videos": "video"}
"""Which clips of a tree the two take."""
