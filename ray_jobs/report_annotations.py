"""The report's section of annotations: what was said of clips, and where that and the disk do not agree."""

from extraction.sources.datasets.annotation import HOLE_KINDS
from ray_jobs.report_blocks import MAX_ROWS, Section, card, command, note, table, text
from storage.annotations import About
from storage.report import Report

_EXAMPLES = 3


def annotations(report: Report) -> Section | None:
    """None where there are no annotations."""
    about = report.annotations
    if about is None:
        return None
    parts = []
    if about.holes:
        heads = ["kind", "clips", "what it means", "for example"]
        parts.append(card(table("Holes", heads, _holes(about), words=[2, 3])))
        parts.append(note(f"All of them, each with what is known of it: {command('holes', report.location)}"))
    else:
        parts.append(note("Annotations and disk agree: no hole is known of."))
    if about.absent:
        absent = ", ".join(map(str, about.absent[:MAX_ROWS]))
        parts.append(note(f"Files of annotations that were not there: <bdi>{text(absent)}</bdi>"))
    lead = f'<p class="lead">{_counts(about)} <bdi>{text(about.why)}</bdi>.</p>'
    return Section("annotations", "Annotations", "Annotations and their holes", lead + "".join(parts))


def _counts(about: About) -> str:
    said = f"Annotated clips: {about.annotated:,}; of these on the disk: {about.found:,}."
    if about.left_out:
        said += f" Inputs without annotation that were left out: {about.left_out:,}."
    return said


def _holes(about: About) -> list[list[str]]:
    rows = [
        [
            f'<span class="word">{text(kind)}</span>' if kind in HOLE_KINDS else text(kind),
            f"{count:,}",
            text(HOLE_KINDS.get(kind, "")),  # type: ignore[call-overload]
            _examples(about, kind, count),
        ]
        for kind, count in list(about.holes.items())[:MAX_ROWS]
    ]
    rest = list(about.holes.values())[MAX_ROWS:]
    return [*rows, [f"{len(rest)} more kinds", f"{sum(rest):,}", "", ""]] if rest else rows


def _examples(about: About, kind: str, count: int) -> str:
    shown = "<br>".join(f"<bdi>{text(name)}</bdi>" for name in about.examples.get(kind, [])[:_EXAMPLES])
    return shown + ("<br>…" if shown and count > _EXAMPLES else "")
