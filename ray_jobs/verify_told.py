"""What ``landmarks verify`` prints for people."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from storage.verified import Verified
    from storage.verify_masks import MaskDifference
    from storage.verify_two import Comparison

_SHOWN = 20
_CHECKED = "every page against its checksum, every row's lengths, masks and numbers, every planned clip"


def tell(result: "Verified") -> None:
    """Prints what was found in one data set."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{escape(result.location)}: {result.planned:,} clips planned: {result.done:,} done, "
        f"{result.failed:,} failed, {result.to_do:,} to do; {result.frames:,} frames in {result.shards:,} "
        "shards"
    )
    console.print(f"checked: {_CHECKED}")
    if result.masks:
        console.print(f"decoded: the masks of {result.masks:,} frames, of the size of their frames")
    if result.inputs is not None:
        console.print(f"compared with the input: {result.inputs:,} clips, their frames and fingerprints")
    if result.new_inputs:
        console.print(f"note: {result.new_inputs:,} clips of the input were never planned")
    if result.without_checksums:
        console.print(
            f"note: {result.without_checksums:,} shards carry no checksums, as the first versions wrote "
            "them: a flipped bit in them may pass for a number"
        )
    if result.reextracted is not None:
        console.print(f"extracted again here: {result.reextracted:,} clips, compared bit for bit")
    for problem in result.problems[:_SHOWN]:
        console.print(f"[red]{problem.kind}[/red]: {escape(problem.where)}: {escape(problem.text)}")
    total = result.counts.total()
    if total > _SHOWN:
        console.print(f"and {total - _SHOWN:,} more; --json lists up to 1,000")
    if result.is_good:
        console.print("[green]good[/green]: nothing is wrong")
    else:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(result.counts.items()))
        console.print(f"[red]not good[/red]: {kinds}")


def tell_comparison(result: "Comparison") -> None:
    """Prints what two sources have in common, and what not."""
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(f"A: {escape(result.a)}\nB: {escape(result.b)}")
    of = f" of {', '.join(result.splits)}" if result.splits else ""
    console.print(
        f"in both: {result.clips:,} clips{escape(of)}, {result.frames:,} frames compared, "
        f"tolerance {result.tolerance:g}"
    )
    if result.parts:
        console.print(_table(result))
    if result.masks:
        _tell_masks(console, result.masks)
    _tell_clips(console, result)
    _tell_worst(console, result)
    if result.differing:
        told = ("only in A", "only in B", "frame counts")
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in result.counts.items() if kind not in told)
        console.print(f"[red]clips that differ[/red]: {_some(result.differing)} (in {kinds})")
    console.print("[green]equal[/green]" if result.is_equal else "[red]different[/red]")


def _table(result: "Comparison") -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("part", "points", "numbers", "max", "mean", "beyond", "only in A", "only in B"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, found in result.parts.items():
        counts = (f"{n:,}" for n in (found.beyond, found.only_in_a, found.only_in_b))
        table.add_row(
            part, str(found.points), f"{found.values:,}", f"{found.max:.3g}", f"{found.mean:.3g}", *counts
        )
    return table


def _tell_clips(console: Console, result: "Comparison") -> None:
    for text in result.not_compared:
        console.print(f"not compared: {escape(text)}")
    for who, names in (("A", result.only_in_a), ("B", result.only_in_b)):
        if names:
            console.print(
                f"[red]only in {who}[/red]: {result.counts[f'only in {who}']:,} clips: {_some(names)}"
            )
    for name, in_a, in_b in result.frame_counts[:_SHOWN]:
        console.print(f"[red]frames[/red]: {escape(name)}: {in_a:,} in A, {in_b:,} in B")
    if len(result.frame_counts) > _SHOWN:
        console.print(f"and {result.counts['frame counts'] - _SHOWN:,} more clips of other lengths")


def _tell_worst(console: Console, result: "Comparison") -> None:
    if result.masks and result.masks.worst:
        console.print(
            f"[red]masks[/red]: {result.masks.frames_differ:,} frames differ, most of all "
            f"{escape(result.masks.worst)}: {result.masks.worst_share:.2%} of its pixels"
        )
    for part, found in result.parts.items():
        if found.max_clip and found.beyond:
            console.print(f"[red]{part}[/red]: the largest difference is in {escape(found.max_clip)}")


def _tell_masks(console: Console, masks: "MaskDifference") -> None:
    of = "classes" if masks.kind == "category" else "confidences"
    apart = "" if masks.kind == "category" else f", max {masks.max:.3g}, mean {masks.mean:.3g}"
    share = masks.differ / max(masks.pixels, 1)
    console.print(
        f"masks of {of}: {masks.frames:,} frames, {masks.pixels:,} pixels, {masks.differ:,} differ "
        f"({share:.3%}){apart}"
    )
    for count, what in (
        (masks.only_in_a, "frames have a mask only in A"),
        (masks.only_in_b, "frames have a mask only in B"),
        (masks.other_size, "frames have masks of other sizes"),
    ):
        if count:
            console.print(f"[red]masks[/red]: {count:,} {what}")
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("class", "in A", "in B", "overlap", "differ"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for found in masks.classes:
        name = str(found.number)
        if masks.kind != "category":
            name = ("background", "foreground")[found.number]
        shares = (found.share_in_a, found.share_in_b, found.overlap)
        table.add_row(name, *(f"{share:.3%}" for share in shares), f"{found.differ:,}")
    console.print(table)


def _some(names: list[str]) -> str:
    return escape(", ".join(names[:5]) + (", ..." if len(names) > 5 else ""))
