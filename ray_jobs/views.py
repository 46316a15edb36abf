"""What ``progress``, ``view`` and ``failures`` print."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from extraction.landmarks import FrameStatus
from ray_jobs.display import duration
from storage import rows, summary
from storage.dataset import Dataset
from storage.schema import num_points

_SHOWN_PARTS = ("pose", "left_hand", "right_hand", "face")
_HANDS = ("left_hand", "right_hand")


def progress(out: str, as_json: bool) -> int:
    """Prints clips done, failed and to do by split."""
    counts = summary.progress(Dataset.open(out))
    if as_json:
        return _print_json(dataclasses.asdict(counts))
    table = _table("split", "clips", "done", "failed", "to do", "frames", "frames to do")
    for s in counts.splits:
        table.add_row(
            escape(s.split), *map(_number, (s.clips, s.done, s.failed, s.to_do, s.frames, s.frames_to_do))
        )
    console = _console()
    console.print(table)
    if counts.job:
        rate, left = counts.frames_per_second, counts.seconds_left
        console.print(
            f"a job runs on {escape(str(counts.job['host']))} (process {counts.job['pid']}), "
            f"{len(counts.workers)} workers"
            + (f", {rate:.1f} frames/s" if rate else "")
            + (f", {duration(left)} left" if left is not None else "")
        )
        for worker in counts.workers:
            console.print(f"  {worker.worker}: shard {worker.shard}, {escape(worker.clip_id)}")
    else:
        to_do = sum(split.to_do for split in counts.splits)
        console.print("no job runs; run the same extract command again to go on" if to_do else "complete")
    return 0


def view(out: str, clip_id: str | None, detailed: bool, as_json: bool) -> int:
    """Prints what stands in a data set, or in one clip of it."""
    dataset = Dataset.open(out)
    return (
        _view_clip(dataset, clip_id, detailed, as_json) if clip_id else _view_all(dataset, detailed, as_json)
    )


def failures(out: str, as_json: bool) -> int:
    """Prints the clips that failed."""
    table = Dataset.open(out).failures()
    if as_json:
        return _print_json(table.to_pylist())
    console = _console()
    for failure in table.to_pylist():
        console.print(
            f"[bold]{escape(_quoted(failure['clip_id']))}[/bold]  {failure['stage']}: {escape(failure['reason'])} "
            f"({failure['attempts']} attempts, {escape(failure['host'])}, {failure['time']:%Y-%m-%d %H:%M:%S} UTC)"
        )
        console.print("  " + escape(failure["error"]).replace("\n", "\n  "))
    console.print(f"{table.num_rows:,} clips failed")
    return 0


def _view_all(dataset: Dataset, detailed: bool, as_json: bool) -> int:
    by_split = summary.detections(dataset)
    by_clip = summary.detections(dataset, by_clip=True) if detailed else []
    parts = num_points(dataset.clips().schema)
    if as_json:
        value = {"config": dataset.config(), "parts": parts, "splits": [_detection(d) for d in by_split]}
        if detailed:
            value["clips"] = [_detection(d) for d in by_clip]
        return _print_json(value)
    console = _console()
    config = dataset.config()
    options: Any = config["options"]
    console.print(
        f"{escape(dataset.store.location)}: engine {options['engine']}, mediapipe {options['mediapipe_version']}, "
        f"{'static' if options['static'] else 'tracking'}, schema {config['schema_version']}"
    )
    console.print("parts (T, N, 3): " + ", ".join(f"{part} {count}" for part, count in parts.items()))
    for title, groups in (("split", by_split), ("clip", by_clip)):
        if groups:
            console.print(_detection_table(title, groups))
    return 0


def _view_clip(dataset: Dataset, clip_id: str, detailed: bool, as_json: bool) -> int:
    table = dataset.read_clip(clip_id)
    pieces = [rows.decode(table, index) for index in range(table.num_rows)]
    parts = num_points(table.schema)
    arrays = {p.name for p in table.schema if str(p.type).startswith("list<")}
    facts = {name: table[name][0].as_py() for name in table.column_names if name not in arrays}
    frames = sum(map(len, pieces))
    status = {s.name.lower(): sum(int((p.frame_status == s).sum()) for p in pieces) for s in FrameStatus}
    readable = frames - status["unreadable"]
    rates = {part: sum(int(p.present(part).sum()) for p in pieces) / max(readable, 1) for part in parts}
    missing = {
        hand: [run for p in pieces for run in summary.missing_stretches(p, hand)]
        for hand in _HANDS
        if hand in parts
    }
    errors = [(n, e) for p in pieces for n, e in zip(p.frame_names, p.frame_errors, strict=True) if e]
    if as_json:
        facts |= {"num_frames": frames, "rows": len(pieces), "frame_status": status, "detection_rates": rates}
        return _print_json({**facts, "missing": missing, "frame_errors": [list(pair) for pair in errors]})
    console = _console()
    console.print(
        f"[bold]{escape(_quoted(clip_id))}[/bold]  {frames:,} frames, {facts['width']}x{facts['height']} px, {facts['fps']:g} fps"
    )
    console.print("  " + ", ".join(f"{name} {count}" for name, count in status.items()))
    for part, count in parts.items():
        console.print(f"  {part:<12} ({frames}, {count}, 3)  found in {rates[part]:.1%} of readable frames")
    for hand, stretches in missing.items():
        shown = stretches if detailed else sorted(stretches, key=lambda s: s[0] - s[1])[:3]
        text = ", ".join(f"{first}-{last}" for first, last in sorted(shown))
        more = f" and {len(stretches) - len(shown)} more (--detailed)" if len(shown) < len(stretches) else ""
        console.print(f"  {hand} missing in frames {text}{more}" if stretches else f"  {hand} never missing")
    for name, error in errors if detailed else errors[:3]:
        console.print(f"  {escape(_quoted(name))}: {escape(error)}")
    if detailed:
        for name, value in facts.items():
            console.print(f"  {name}: {escape(str(value))}")
    return 0


def _detection_table(title: str, groups: list[summary.Detection]) -> Table:
    table = _table(title, "clips", "frames", "ok", "nobody", "unreadable", *_SHOWN_PARTS)
    for group in groups:
        counts = (group.clips, group.frames, group.ok, group.nobody, group.unreadable)
        rates = (f"{group.rate(part):.1%}" for part in _SHOWN_PARTS)
        table.add_row(escape(_quoted(group.name)), *map(_number, counts), *rates)
    return table


def _detection(group: summary.Detection) -> dict[str, object]:
    value = dataclasses.asdict(group)
    return {
        **value,
        "present": dict(group.present),
        "detection_rates": {p: group.rate(p) for p in group.present},
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _number(value: int) -> str:
    return f"{value:,}"


def _quoted(name: str) -> str:
    """A name as it is, or quoted where control characters in it would disturb the terminal."""
    return name if name.isprintable() else repr(name)


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


def _print_json(value: object) -> int:
    default: Callable[[object], str] = str
    print(json.dumps(value, indent=2, default=default))
    return 0
