"""The report's section of time: by worker and machine, what it went into, and what went wrong."""

from collections.abc import Sequence

from extraction.gl_catalogue import Meaning
from ray_jobs.report_blocks import MAX_ROWS, Section, alarming, card, note, table, text
from ray_jobs.report_charts import share_bar
from storage.report import Report
from storage.report_records import Timing

GL_TROUBLE = frozenset({Meaning.CONTEXT.value, Meaning.NO_EGL.value, Meaning.NO_GPU_IN_BUILD.value})
"""Reasons of losses that come from OpenGL or the GPU."""
_HEAD = ["clips", "frames/s", "decode", "detect", "write", "else", "", "tried again", "lost", "of these GL"]


def timing(report: Report) -> Section | None:
    """None where no clip is done."""
    scan = report.scan
    hosts = _slowest_last(scan.hosts())
    if not hosts:
        return None
    if not any(one.busy_ms() for one in hosts):
        told = note("Rows say nothing of time, as those that `landmarks import` makes.")
        return Section("timing", "Timing", "Time and trouble", told)
    workers = _slowest_last([one for one in scan.workers.values() if one.worker])
    parts = []
    if workers:
        rows = [_row(one, one.worker) for one in _bounded(workers, "workers")]
        parts.append(card(table("By worker", ["worker", *_HEAD], rows), _LEGEND))
    if not workers or len(hosts) > 1:
        rows = [_row(one, one.host) for one in _bounded(hosts, "hosts")]
        parts.append(card(table("By host", ["host", *_HEAD], rows), "" if workers else _LEGEND))
    reasons = scan.retry_reasons.most_common(MAX_ROWS)
    if reasons:
        listed = [[text(reason), f"{number:,}"] for reason, number in reasons]
        parts.append(card(table("Why detectors were lost", ["reason", "times"], listed)))
    parts.append(note(_in_words(report)))
    return Section("timing", "Timing", "Time and trouble", "".join(parts))


_LEGEND = (
    '<ul class="legend"><li><i class="key-decode"></i>reading and decoding</li>'
    '<li><i class="key-detect"></i>detector</li><li><i class="key-write"></i>writing rows and shards</li>'
    '<li><i class="key-rest"></i>all else of a clip: opening it, checking that it has not changed</li></ul>'
)


def _in_words(report: Report) -> str:
    scan = report.scan
    more = [
        f"{number:,} took {count} attempts" for count, number in sorted(scan.attempts.items()) if count > 1
    ]
    said = f"Of the clips, {', '.join(more)}." if more else "Every clip took one attempt."
    if not scan.retry_reasons:
        said += " No detector or GL context was lost."
    said += (
        " Frames per second are of one worker while it has a clip to extract or to write; lost attempts and "
        "waiting for work are not counted. Lost: detectors that had to be made anew."
    )
    unnamed = sum(one.clips for one in scan.workers.values() if not one.worker)
    if unnamed:
        said += f" Clips that do not name their worker, made before rows did or imported: {unnamed:,}."
    return said


def _slowest_last(timings: list[Timing]) -> list[Timing]:
    return sorted(timings, key=lambda one: (-round(one.frames_per_second(), 1), one.host, one.worker))


def _bounded(timings: Sequence[Timing], what: str) -> list[Timing]:
    """The fastest and the slowest, which are those to look at, and the rest between them in one row."""
    if len(timings) <= MAX_ROWS:
        return list(timings)
    half = MAX_ROWS // 2
    name = f"{len(timings) - MAX_ROWS:,} other {what}"
    rest = Timing(name, name)
    for one in timings[half:-half]:
        rest.take_in(one)
    return [*timings[:half], rest, *timings[-half:]]


def _row(one: Timing, name: str) -> list[str]:
    whole = one.busy_ms() or 1.0
    decode, detect, write = one.decode_ms / whole, one.detect_ms / whole, one.write_ms / whole
    shares = {"decode": decode, "detect": detect, "write": write}
    shares["rest"] = max(0.0, 1 - sum(shares.values()))
    lost = one.lost.total()
    return [
        f"<bdi>{text(name or 'unknown')}</bdi>",
        f"{one.clips:,}",
        f"{one.frames_per_second():.1f}",
        *(_percent(share) for share in shares.values()),
        share_bar(shares),
        alarming(one.retried),
        alarming(lost),
        alarming(sum(number for reason, number in one.lost.items() if reason in GL_TROUBLE)),
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"
