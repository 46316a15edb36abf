"""All data sets that are known by name, and the one that a folder is."""

from collections.abc import Mapping

from extraction.clips import from_uri, printable
from extraction.errors import JobError
from extraction.sources.datasets import (
    autsl,
    csl_daily,
    generic,
    how2sign,
    include,
    phoenix_2014,
    phoenix_2014_t,
    wlasl,
)
from extraction.sources.datasets.layout import Layout
from extraction.sources.datasets.locating import Located, found_above, locate, try_to_locate

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        phoenix_2014_t.LAYOUT,
        phoenix_2014.LAYOUT,
        csl_daily.LAYOUT,
        how2sign.LAYOUT,
        wlasl.LAYOUT,
        autsl.LAYOUT,
        include.LAYOUT,
        generic.FRAMES,
        generic.VIDEOS,
    )
}
AUTO = "auto"


def find_dataset(name: str, root: str | None, annotations: str | None = None) -> Located:
    """Finds a data set by name, or finds out which one a folder is.

    Args:
        name: Of a data set, or ``"auto"``.
        root: The folder that was unpacked, or its ``file://`` URI; None where only annotations are wanted.
        annotations: Where the annotations lie, if not there; likewise.

    Raises:
        JobError: If there is no such name, or the data set is not there; with ``"auto"`` if none is, or
            several are, naming what was looked for.
    """
    root, annotations = (place and from_uri(place) for place in (root, annotations))
    if name != AUTO:
        if name not in LAYOUTS:
            raise JobError(f"--dataset: expected {', '.join(LAYOUTS)} or {AUTO}, found {name!r}")
        return locate(LAYOUTS[name], root, annotations)
    named = [layout for layout in LAYOUTS.values() if not layout.takes_all]
    found = [hit for layout in named if (hit := try_to_locate(layout, root, annotations))]
    if len(found) == 1:
        return found[0]
    where = printable(annotations or root or "")
    if found:
        raise JobError(
            f"--dataset {AUTO}: {where} could be several data sets ({'; '.join(hit.why for hit in found)}): "
            "name one, or give the folder of one"
        )
    wanted = "; ".join(
        f"{layout.name}: {' or '.join(file.shown for file in layout.files if file.is_enough)}"
        for layout in named
    )
    raise JobError(
        f"--dataset {AUTO}: {where} is none of the data sets that are known by their files of annotations "
        f"({wanted}). {found_above(named, root, annotations)}Give the folder that was unpacked, name the "
        "annotations with --annotations, or use --dataset frames or --dataset videos"
    )
