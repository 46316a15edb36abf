"""A report as one HTML page: no script, no picture from elsewhere, every text of the data set escaped."""

import os
from collections.abc import Iterable, Mapping

from ray_jobs.display import duration
from ray_jobs.report_blocks import text
from ray_jobs.report_sections import sections
from ray_jobs.report_style import PAGE, STYLE
from storage.report import HANDS, Report


def page(report: Report, thumbnails: Mapping[str, str]) -> str:
    """Lays out a report.

    Args:
        report: What it says.
        thumbnails: Clip id to the ``<svg>`` of its skeleton.

    Returns:
        The whole page.
    """
    parts = sections(report, thumbnails)
    name = os.path.basename(report.location.rstrip("/")) or report.location
    return PAGE.substitute(
        title=f"{text(name)}: landmark report",
        style=STYLE,
        name=f"<bdi>{text(name)}</bdi>",
        where=f"<bdi>{text(report.location)}</bdi>, as of {report.made:%d %B %Y, %H:%M} UTC",
        links="".join(f'<a href="#{part.key}">{part.short}</a>' for part in parts),
        figures="".join(_figures(report)),
        sections="\n".join(
            f'<section id="{part.key}" aria-labelledby="{part.key}-title">'
            f'<h2 id="{part.key}-title">{part.title}</h2>{part.body}</section>'
            for part in parts
        ),
        footer=_footer(report),
    )


def _figures(report: Report) -> Iterable[str]:
    total = report.scan.total()
    splits = report.splits
    planned, failed = sum(s.clips for s in splits), sum(s.failed for s in splits)
    to_do = sum(s.to_do for s in splits)
    readable = total.frames - total.unreadable
    yield _figure(
        "clips done", f"{total.clips:,}", f"of {planned:,}" + (f", {to_do:,} to do" if to_do else "")
    )
    share = f"{failed / planned:.2%} of all" if planned else ""
    yield _figure("clips failed", f"{failed:,}", share, bad=failed > 0)
    seconds = float(report.scan.lengths_s.sum())
    yield _figure("frames", f"{total.frames:,}", f"{duration(seconds)} of video")
    if all(hand in report.parts for hand in HANDS) and readable:
        found = 1 - report.scan.frames_without_hand / readable
        both = 1 - (report.scan.frames_without_hand + report.scan.frames_with_one_hand) / readable
        yield _figure("frames with a hand", f"{found:.1%}", f"both hands {both:.1%}")
    elif readable:
        yield _figure("frames with somebody", f"{total.ok_rate():.1%}", "of those that could be read")
    unreadable = total.unreadable / total.frames if total.frames else 0
    yield _figure(
        "frames unreadable", f"{unreadable:.2%}", f"{total.unreadable:,} frames", bad=unreadable > 0.01
    )
    spent = sum(worker.busy_ms() for worker in report.scan.workers.values()) / 1000
    if spent:
        yield _figure("frames a second", f"{total.frames / spent:.1f}", "of one worker")


def _figure(name: str, value: str, more: str, bad: bool = False) -> str:
    kind = " bad" if bad else ""
    return f'<div><dt>{name}</dt><dd class="value{kind}">{value}</dd><dd class="more">{more}</dd></div>'


def _footer(report: Report) -> str:
    return (
        f"<p>Made by <b>landmarks report</b> of ray-landmarks. Counts are of every clip that is done; a "
        f"sample of {report.sampled:,} clips was read for what needs coordinates.</p>"
    )
