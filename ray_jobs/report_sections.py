"""The report's sections, each a function of what the report says."""

from collections.abc import Iterable, Mapping, Sequence

from ray_jobs.report_annotations import annotations
from ray_jobs.report_blocks import MAX_ROWS, Section, alarming, card, command, note, rate, table, text
from ray_jobs.report_charts import histogram_svg, strip_svg
from ray_jobs.report_timing import timing
from storage.report import Histogram, Report
from storage.report_records import HandStrip, merged
from storage.summary import Detection

_SHOWN_OPTIONS = 30
_CHARTS = {
    "clip_length_frames": ("Clip length", "frames a clip", "all clips"),
    "clip_length_s": ("Clip duration", "seconds a clip", "all clips"),
    "hand_size_px": ("Hand size", "px, longer side of the hand's box", "sample"),
    "hand_speed": ("Hand speed", "hand sizes a second, at the wrist", "sample"),
    "hand_jitter": ("Jitter", "hand sizes a frame²; low is calm", "sample"),
}


def sections(report: Report, thumbnails: Mapping[str, str]) -> list[Section]:
    """All sections that have something to say, in order.

    Args:
        report: What they say.
        thumbnails: Clip id to the ``<svg>`` of its skeleton.
    """
    made = (
        _made_with(report),
        _clips(report),
        annotations(report),
        _detection(report),
        _missing_hands(report),
        _distributions(report),
        _outliers(report, thumbnails),
        timing(report),
    )
    return [section for section in made if section is not None]


def _made_with(report: Report) -> Section:
    options = report.config.get("options")
    options = dict(options) if isinstance(options, Mapping) else {}
    made = report.scan.made_with.most_common(MAX_ROWS)
    delegates = sorted({delegate for _, _, delegate in report.scan.made_with if delegate})
    facts = [
        ("Engine", ", ".join(sorted({engine for (engine, _, _), _ in made})) or options.get("engine", "")),
        ("MediaPipe", ", ".join(sorted({version for (_, version, _), _ in made}))),
        ("Ran on", _counted((d, sum(n for (_, _, x), n in made if x == d)) for d in delegates)),
        ("Parts", ", ".join(f"{part} {count}" for part, count in report.parts.items()) or "none"),
        ("Coordinates", _precision(options) if report.parts else ""),
        ("Masks", "one a frame" if report.has_masks else ""),
        ("Frame sizes", _sizes(report)),
        ("Source", report.config.get("source", "")),
        ("Schema", report.config.get("schema_version", "")),
        ("Options digest", report.config.get("options_hash", "")),
    ]
    settings = [(text(key), text(_said(value))) for key, value in list(options.items())[:_SHOWN_OPTIONS]]
    return Section(
        "made-with",
        "Made with",
        "What was extracted, and with what",
        '<p class="lead">The same options stand behind every clip; with others it is another data set.</p>'
        f'<div class="card"><h3>Extraction</h3>{_facts((name, text(value)) for name, value in facts)}</div>'
        f'<div class="card"><h3>Options that shape the results</h3>{_facts(settings)}</div>',
    )


def _precision(options: Mapping[str, object]) -> str:
    stored = str(options.get("precision", "float32"))
    return stored if stored == "float32" else f"rounded to {stored}, in columns of float32"


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values; what has none is left out."""
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs if value)
    return f'<dl class="facts">{listed}</dl>'


def _said(value: object) -> object:
    """An option's value in words; nothing where it is empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else value


def _sizes(report: Report) -> str:
    common = [(f"{w}×{h} px", n) for (w, h), n in report.scan.sizes_px.most_common(3) if w and h]  # noqa: RUF001
    others = sum(report.scan.sizes_px.values()) - sum(number for _, number in common)
    return _counted([*common, ("others", others)] if others else common)


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    listed = list(pairs)
    if len(listed) == 1:
        return listed[0][0]
    return ", ".join(f"{name} ({number:,} clips)" for name, number in listed)


def _clips(report: Report) -> Section:
    rows = [
        [text(s.split), f"{s.clips:,}", f"{s.done:,}", alarming(s.failed), f"{s.to_do:,}", f"{s.frames:,}"]
        for s in report.splits
    ]
    head = ["split", "clips", "done", "failed", "to do", "frames planned"]
    parts = [card(table("By split", head, rows))]
    kinds = report.failures
    if kinds:
        listed = [
            [
                text(f"{kind.stage}: {kind.reason}"),
                f"{kind.clips:,}",
                f'<span class="soft"><bdi>{text(kind.example)}</bdi></span><br>{text(kind.error[:200])}',
            ]
            for kind in kinds[:MAX_ROWS]
        ]
        if len(kinds) > MAX_ROWS:
            rest = sum(kind.clips for kind in kinds[MAX_ROWS:])
            listed.append([f"{len(kinds) - MAX_ROWS} more kinds", f"{rest:,}", ""])
        parts.append(card(table("Failures by reason", ["reason", "clips", "for example"], listed, words=[2])))
        parts.append(note(f"All of them, each with its error: {command('failures', report.location)}"))
    else:
        parts.append(note("No clip failed."))
    return Section("clips", "Clips", "Clips and failures", "".join(parts))


def _detection(report: Report) -> Section | None:
    scan = report.scan
    if not scan.splits:
        return None
    parts = [part for part in report.parts if not part.endswith("_world")]
    tables = [_rates("split", sorted(scan.splits.values(), key=lambda d: d.name), parts, scan.total())]
    if scan.signers:
        signers = sorted(scan.signers.values(), key=lambda d: (-d.frames, d.name))
        if len(signers) > MAX_ROWS:
            rest = signers[MAX_ROWS:]
            signers = [*signers[:MAX_ROWS], merged(f"{len(rest):,} other signers", rest)]
        tables.append(_rates("signer", signers, parts, None))
    lead = (
        "Share of readable frames in which a part was found. A hand out of the picture counts as missing, so "
        "compare groups with one another rather than with 100%."
        if parts
        else "Share of readable frames with foreground in the mask."
    )
    return Section(
        "detection",
        "Detection",
        "Detection rates",
        f'<p class="lead">{lead}</p>' + "".join(card(table) for table in tables),
    )


def _rates(title: str, groups: Sequence[Detection], parts: list[str], total: Detection | None) -> str:
    def row(group: Detection) -> list[str]:
        counts = [f"<bdi>{text(group.name)}</bdi>", f"{group.clips:,}", f"{group.frames:,}"]
        rates = [(part, group.rate(part)) for part in parts] or [("foreground", group.ok_rate())]
        return [*counts, *(rate(part, share) for part, share in rates), rate("bad-rate", _unreadable(group))]

    names = [part.replace("_", " ") for part in parts] or ["foreground"]
    foot = [row(total)] if total and len(groups) > 1 else []
    head = [title, "clips", "frames", *names, "unreadable"]
    return table(f"By {title}", head, [row(group) for group in groups], foot)


def _unreadable(group: Detection) -> float:
    return group.unreadable / group.frames if group.frames else 0.0


def _missing_hands(report: Report) -> Section | None:
    strips = report.scan.worst_hands
    if not strips:
        return None
    legend = (
        '<ul class="legend"><li><i class="key-left"></i>left hand missing</li>'
        '<li><i class="key-right"></i>right hand missing</li><li><i class="key-none"></i>found</li>'
        '<li><i class="key-unreadable"></i>frame unreadable</li></ul>'
    )
    items = "".join(f"<li>{_strip(strip)}</li>" for strip in strips)
    return Section(
        "missing-hands",
        "Missing hands",
        "Missing hands",
        f'<p class="lead">The {len(strips)} clips with the largest share of frames without any hand, each '
        "from its first frame to its last; the upper lane is the left hand, the lower one the right.</p>"
        f'<div class="card">{legend}<ol class="strips">{items}</ol></div>',
    )


def _strip(strip: HandStrip) -> str:
    found = strip.found
    return (
        f"<b><bdi>{text(found.clip_id)}</bdi></b>{strip_svg(strip)}"
        f"<span>{found.value:.0%} no hand, {strip.one_missing:.0%} one<br>{found.frames:,} frames</span>"
    )


def _distributions(report: Report) -> Section | None:
    if not report.histograms:
        return None
    figures = "".join(_histogram(name, values) for name, values in report.histograms.items())
    return Section(
        "distributions",
        "Distributions",
        "Distributions",
        '<p class="lead">Lengths are of all clips. Hand size, speed and jitter need coordinates and are '
        f"medians of {report.sampled:,} clips chosen by chance (seed {report.seed}"
        + (
            f"; {report.sampled_without_hands:,} of them without a hand"
            if report.sampled_without_hands
            else ""
        )
        + '). The dashed line is the median.</p><div class="charts">'
        + figures
        + "</div>",
    )


def _histogram(name: str, values: Histogram) -> str:
    title, unit, whose = _CHARTS[name]
    number = f"{values.total:,} clips" + ("" if whose == "all clips" else " of the sample")
    beyond = f"; {values.beyond:,} beyond the right edge" if values.beyond else ""
    words = f"median {_short(values.median)}, 90% from {_short(values.p05)} to {_short(values.p95)}"
    return (
        f"<figure><figcaption>{title}<span>{words}</span><span>{number}{beyond}</span></figcaption>"
        f"{histogram_svg(name, values, unit)}</figure>"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _outliers(report: Report, thumbnails: Mapping[str, str]) -> Section | None:
    if not report.outliers:
        return None
    cards = []
    for outlier in report.outliers:
        reasons = "".join(f"<li>{text(reason)}</li>" for reason in outlier.why)
        names = (report.location, outlier.clip_id)
        view = command("view", *names, options=["--detailed"])
        draw = command("draw", *names, options=["--video", "mp4"])
        cards.append(
            f"<article>{thumbnails.get(outlier.clip_id, '')}<div><h3><bdi>{text(outlier.clip_id)}</bdi></h3>"
            f'<ul><li class="soft">{text(outlier.split)}, {outlier.frames:,} frames</li>{reasons}</ul>'
            f"{view}{draw}</div></article>"
        )
    return Section(
        "outliers",
        "Worth a look",
        "Clips worth a look",
        '<p class="lead">What stands out is not always wrong: a long clip may just be long. Skeletons show '
        f'the frame in which most was found.</p><div class="cards">{"".join(cards)}</div>',
    )
