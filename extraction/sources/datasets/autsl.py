"""AUTSL: isolated signs of Turkish Sign Language."""

from collections.abc import Iterator, Mapping

from extraction.sources.datasets.annotation import Annotation, Source
from extraction.sources.datasets.layout import AnnotationFile, Expected, Layout, per_split
from extraction.sources.tables import COMMAS, TableForm, read_table

_LABELS = TableForm(",", header=("name", "class"))


def _read(files: Mapping[str, str]) -> Iterator[Annotation]:
    names: dict[str, Mapping[str, str]] = {}
    if "classes" in files:
        rows = read_table(files["classes"], COMMAS, ("ClassId", "TR", "EN"), "AUTSL's list of classes")
        names = {cells["ClassId"]: cells for _, cells in rows}
    for split, path in files.items():
        if split == "classes":
            continue
        for line, cells in read_table(path, _LABELS, what="AUTSL's labels"):
            sign = names.get(cells["class"], {})
            yield Annotation(
                f"{split}/{cells['name']}",
                (Source(f"{cells['name']}_color"), Source(cells["name"])),
                split,
                signer=cells["name"].partition("_")[0],
                gloss=sign.get("TR") or None,
                text=sign.get("EN") or None,
                label=cells["class"],
                where=f"{path}, line {line}",
            )


LAYOUT = Layout(
    name="autsl",
    title="AUTSL (Turkish Sign Language, isolated)",
    lies=(
        "{train,validation,test}_labels.csv, without a header, and SignList_ClassId_TR_EN.csv",
        "{train,val,test}/signerN_sampleM_color.mp4 (the depth videos beside them are passed over)",
    ),
    licence="research only, on request; see its page",
    home="https://cvml.ankara.edu.tr/datasets/",
    files=(
        *per_split(
            r"{split}_labels\.csv",
            "{split}_labels.csv",
            r"signer\d+_sample\d+,\d+",
            {"train": "train", "val": "val(?:idation)?", "test": "test"},
        ),
        AnnotationFile(
            "classes",
            r"SignList_ClassId_TR_EN\.csv",
            "SignList_ClassId_TR_EN.csv",
            "ClassId,TR,EN",
            is_enough=False,
        ),
    ),
    read=_read,
    ignores=r".*_depth",
    expected={"train": Expected(28_142), "val": Expected(4418), "test": Expected(3742)},
    # Rows of the challenge's label files, as counted in github.com/jackyjsy/CVPR21Chal-SLR (Conv3D/data);
    # their sum is the makers' own: chalearnlap.cvc.uab.es/dataset/40.
    counts_from="rows of its label files; 36,302 in all, as its makers' challenge of 2021 says",
)
