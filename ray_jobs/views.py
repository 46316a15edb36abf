"""What ``progress``, ``view`` and ``failures`` print."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ray_jobs.display import duration
from ray_jobs.sparkline import binned, sparkline
from storage import summary
from storage.annotations import described, read_about
from storage.dataset import Dataset
from storage.schema import has_masks, num_points, part_shapes

_HANDS = ("left_hand", "right_hand")
_FEW = 3
_FEWEST_BINS, _MOST_BINS, _JSON_BINS = 10, 100, 100
"""Marks of a sparkline; more than a hundred say no more to the eye."""
_FILE_COLUMNS = 200
"""Width of tables that go to a file or another program, which know no width of their own."""


def progress(out: str, as_json: bool) -> int:
    """Prints clips done, failed and to do by split."""
    dataset = Dataset.open(out)
    counts, annotations = summary.progress(dataset), read_about(dataset.store)
    if as_json:
        about = dataclasses.asdict(annotations) if annotations else None
        return _print_json({**dataclasses.asdict(counts), "annotations": about})
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
    for line in described(annotations) if annotations else ():
        console.print(escape(line))
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
            f"[bold]{escape(_quoted(failure['clip_id']))}[/bold]  {failure['stage']}: "
            f"{escape(failure['reason'])} ({failure['attempts']} attempts, {escape(failure['host'])}, "
            f"{failure['time']:%Y-%m-%d %H:%M:%S} UTC)"
        )
        console.print("  " + escape(failure["error"]).replace("\n", "\n  "))
    console.print(f"{table.num_rows:,} clips failed")
    return 0


def _view_all(dataset: Dataset, detailed: bool, as_json: bool) -> int:
    by_split = summary.detections(dataset)
    by_clip = summary.detections(dataset, by_clip=True) if detailed else []
    schema, config = dataset.clips().schema, dataset.config()
    mask = _mask(dataset) if has_masks(schema) else None
    if as_json:
        value = {
            "config": config,
            "parts": num_points(schema),
            "mask": mask,
            "splits": [_detection(d) for d in by_split],
        }
        if detailed:
            value["clips"] = [_detection(d) for d in by_clip]
        return _print_json(value)
    console = _console()
    options: Any = config["options"]
    mode = "" if mask or options["static"] is None else f"{'static' if options['static'] else 'tracking'}, "
    console.print(
        f"{escape(dataset.store.location)}: engine {options['engine']}, "
        f"mediapipe {options['mediapipe_version']}, {mode}"
        + (f"precision {escape(str(options['precision']))}, " if "precision" in options else "")
        + f"schema {config['schema_version']}"
    )
    for line in _contents(schema, mask):
        console.print(line)
    # World landmarks are found with the part that they belong to.
    parts = [part for part in num_points(schema) if not part.endswith("_world")]
    for title, groups in (("split", by_split), ("clip", by_clip)):
        if groups:
            console.print(_detection_table(title, groups, parts))
    return 0


def _mask(dataset: Dataset) -> str:
    """What the masks of a data set hold: ``"category"`` or ``"confidence"``."""
    options: Any = dataset.config()["options"]
    return str(options.get("mask", "category"))


def _contents(schema: pa.Schema, mask: str | None) -> list[str]:
    """One line for the parts, for scores and for masks, where there are any."""
    lines = []
    shapes = part_shapes(schema)
    for what, dims in (("parts", 3), ("scores", 1)):
        counts = [f"{part} {n}" for part, (n, d) in shapes.items() if d == dims]
        if counts:
            lines.append(f"{what} (T, N, {dims}): {', '.join(counts)}")
    return [*lines, f"masks: mask_png ({mask})"] if mask else lines


def _view_clip(dataset: Dataset, clip_id: str, detailed: bool, as_json: bool) -> int:
    clip = summary.describe(dataset, clip_id)
    if as_json:
        presence = {part: binned(found, _JSON_BINS) for part, found in _presence(clip).items()}
        return _print_json({**dataclasses.asdict(clip), "presence": presence})
    console = _console()
    row = clip.columns
    console.print(
        f"[bold]{escape(_quoted(clip_id))}[/bold]  {clip.num_frames:,} frames, "
        f"{row['width']}x{row['height']} px, {row['fps']:g} fps"
    )
    console.print("  " + ", ".join(f"{name} {count}" for name, count in clip.frame_status.items()))
    width = max(map(len, (*clip.shapes, "right_hand", "mask_png"))) + 2
    for part, shape in clip.shapes.items():
        console.print(
            f"  {part:<{width}} {shape}  found in {clip.detection_rates[part]:.1%} of readable frames"
        )
    if clip.masks is not None:
        console.print(f"  {'mask_png':<{width}} {clip.masks} masks ({_mask(dataset)}){_foreground(clip)}")
    for line in _sparklines(clip, console):
        console.print(line)
    for hand in filter(clip.missing.__contains__, _HANDS):
        console.print(f"  {hand} " + _missing(clip.missing[hand], detailed))
    for name, error in clip.frame_errors if detailed else clip.frame_errors[:_FEW]:
        console.print(f"  {escape(_quoted(name))}: {escape(error)}")
    for name, value in row.items() if detailed else ():
        shown = "; ".join(value) or "none" if isinstance(value, list) else str(value)
        console.print(f"  {name}: {escape(shown)}")
    return 0


def _presence(clip: summary.ClipDescription) -> dict[str, NDArray[np.bool_]]:
    """Where each part was found, bool (T,); world landmarks are found with the part that they belong to."""
    presence = {}
    for part, stretches in clip.missing.items():
        if not part.endswith("_world"):
            presence[part] = np.ones(clip.num_frames, np.bool_)
            for first, last in stretches:
                presence[part][first : last + 1] = False
    return presence


def _sparklines(clip: summary.ClipDescription, console: Console) -> list[str]:
    """Presence from the first frame to the last, a line for each part, as wide as the terminal allows."""
    presence = _presence(clip)
    label = max((len(part) for part in presence), default=0) + 4
    bins = max(_FEWEST_BINS, min(console.width - label - 1, _MOST_BINS))
    encoding = console.encoding or "utf-8"
    lines = [
        f"  {part:<{label - 2}}{sparkline(binned(found, bins), encoding=encoding)}"
        for part, found in presence.items()
    ]
    per_mark = clip.num_frames / min(bins, clip.num_frames) if clip.num_frames else 0
    each = "1 frame" if per_mark == 1 else f"{per_mark:.3g} frames"
    return [f"  found, from the first frame to the last; a mark is {each}", *lines] if lines else []


def _foreground(clip: summary.ClipDescription) -> str:
    """How often there is foreground; where there are parts too, their being found is another matter."""
    if clip.shapes:
        return ""
    readable = max(clip.num_frames - clip.frame_status["unreadable"], 1)
    return f"  foreground in {clip.frame_status['ok'] / readable:.1%} of readable frames"


def _missing(stretches: list[tuple[int, int]], detailed: bool) -> str:
    if not stretches:
        return "never missing"
    shown = stretches if detailed else sorted(stretches, key=lambda run: run[0] - run[1])[:_FEW]
    more = f" and {len(stretches) - len(shown)} more (--detailed)" if len(shown) < len(stretches) else ""
    return "missing in frames " + ", ".join(f"{first}-{last}" for first, last in sorted(shown)) + more


def _detection_table(title: str, groups: list[summary.Detection], parts: list[str]) -> Table:
    """Counts, and the rate of each part; of masks alone, that of foreground."""
    table = _table(title, "clips", "frames", "ok", "nobody", "unreadable", *(parts or ["foreground"]))
    for group in groups:
        counts = (group.clips, group.frames, group.ok, group.nobody, group.unreadable)
        rates = [group.rate(part) for part in parts] or [group.ok_rate()]
        table.add_row(escape(_quoted(group.name)), *map(_number, counts), *(f"{r:.1%}" for r in rates))
    return table


def _detection(group: summary.Detection) -> dict[str, object]:
    value = dataclasses.asdict(group)
    return {
        **value,
        "present": dict(group.present),
        "ok_rate": group.ok_rate(),
        "detection_rates": {p: group.rate(p) for p in group.present},
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(columns[0], overflow="fold", min_width=16)
    for column in columns[1:]:
        table.add_column(column, justify="right", min_width=len(column))
    return table


def _number(value: int) -> str:
    return f"{value:,}"


def _quoted(name: str) -> str:
    """A name as it is, or quoted where control characters in it would disturb the terminal."""
    return name if name.isprintable() else repr(name)


def _console() -> Console:
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_COLUMNS)
    return console


def _print_json(value: object) -> int:
    default: Callable[[object], str] = str
    print(json.dumps(value, indent=2, default=default))
    return 0
