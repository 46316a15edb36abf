"""The tables of the comparison, from its figures."""

import math
import statistics
from collections.abc import Callable
from typing import Any

_AT = 1000
"""Clips for which the time is reckoned: start-up weighs less the more there are."""

Run = dict[str, Any]
Found = dict[str, Any]

# What is compared with what, and the least that is wanted; 0: nothing is. Above 1 is better for ours.
_RATIOS: tuple[tuple[str, str, str, str, float], ...] = (
    ("steady state", "frames_per_s", "ours", "bare", 0.97),
    ("steady state", "frames_per_s", "ours", "pool", 1.25),
    ("whole run", "wall_s", "ours", "pool", 1.25),
    ("steady state", "frames_per_s", "ours", "pool-static", 1.25),
    ("whole run", "wall_s", "ours", "pool-static", 1.25),
    ("steady state", "frames_per_s", "ours", "pool-kept", 1.25),
    ("whole run", "wall_s", "ours", "pool-kept", 1.25),
    ("steady state", "frames_per_s", "ours-videos", "poses", 1.0),
    ("whole run", "wall_s", "ours-videos", "poses", 1.0),
    (f"{_AT} clips, reckoned", "reckoned_s", "ours-videos", "poses", 1.0),
    (f"{_AT} clips, reckoned", "reckoned_s", "ours", "pool", 1.25),
    ("memory", "peak_mb", "ours-videos", "poses", 1.0),
    ("memory", "peak_mb", "ours", "pool", 1.0),
    ("CPU time a frame", "cpu_s", "ours", "bare", 0.0),
    ("CPU time a frame", "cpu_s", "ours", "pool", 0.0),
    ("CPU time a frame", "cpu_s", "ours-videos", "poses", 0.0),
)
_LESS_IS_BETTER = {"wall_s", "reckoned_s", "peak_mb", "cpu_s"}


def markdown(found: Found, names: dict[str, str]) -> str:
    """All tables.

    Args:
        found: Clips, frames, rounds and kills.
        names: Short name to name, of all who took part.
    """
    for run in (run for each in found["rounds"] for run in each.values()):
        run["reckoned_s"] = run["fixed_s"] + _AT / found["clips"] * found["frames"] / run["frames_per_s"]
    parts = [
        f"{found['clips']} clips, {found['frames']} frames of {found['source']}, {found['workers']} workers, "
        f"{len(found['rounds'])} rounds in turn; {found['machine']}; load before a run at most "
        f"{max(run['load_before'] for each in found['rounds'] for run in each.values()):.1f}",
        _runs(found, names),
        _ratios(found, names),
    ]
    if found["kills"]:
        parts.append(_kills(found, names))
    return "\n\n".join(parts) + "\n"


def _runs(found: Found, names: dict[str, str]) -> str:
    columns: tuple[tuple[str, Callable[[Run], float]], ...] = (
        ("frames/s, steady", lambda run: run["frames_per_s"]),
        ("whole run, s", lambda run: run["wall_s"]),
        ("of it start and end, s", lambda run: run["fixed_s"]),
        (f"{_AT} clips, reckoned, s", lambda run: run["reckoned_s"]),
        ("first result, s", lambda run: run["first_result_s"] or math.nan),
        ("tail, s", lambda run: run["tail_s"]),
        ("CPU, ms a frame", lambda run: run["cpu_s"] / found["frames"] * 1000),
        ("peak memory, MB", lambda run: run["peak_mb"]),
        ("clips whole", lambda run: run["whole"] or math.nan),
    )
    rows = [
        [name, *(_spread([value(each[key]) for each in found["rounds"]]) for _, value in columns)]
        for key, name in names.items()
    ]
    return _table(["median (least to most)", *(title for title, _ in columns)], rows)


def _ratios(found: Found, names: dict[str, str]) -> str:
    rows = []
    for what, figure, ours, peer, wanted in _RATIOS:
        if ours not in names or peer not in names:
            continue
        ratios = [each[ours][figure] / each[peer][figure] for each in found["rounds"]]
        if figure in _LESS_IS_BETTER:
            ratios = [1 / ratio for ratio in ratios]
        met = "" if not wanted else "yes" if statistics.median(ratios) >= wanted else "no"
        rows.append(
            [f"{names[ours]} / {names[peer]}", what, _spread(ratios), f"{wanted}" if wanted else "", met]
        )
    return _table(["ratio", "of", "median (least to most)", "wanted", "met"], rows)


def _kills(found: Found, names: dict[str, str]) -> str:
    half = found["clips"] / 2
    rows = [
        [
            names[key],
            f"{kill['after_s']:.0f}",
            "keeps none" if key == "bare" else f"{kill['whole']} ({kill['whole'] / half:.0%} of half)",
            str(kill["kept"]),
            str(kill["broken"]),
            str(kill["orphans"]),
            f"{kill['again_s']:.0f} (exit code {kill['again_code']})",
            "keeps none" if key == "bare" else f"{kill['whole_then']} of {found['clips']}",
            str(kill["broken_then"]),
        ]
        for key, kill in found["kills"].items()
    ]
    head = ["SIGKILL to the command at half time", "after, s", "clips whole", "kept besides", "files broken"]
    head += ["processes left after 30 s", "same command again, s", "clips whole then", "files broken then"]
    return _table(head, rows)


def _spread(values: list[float]) -> str:
    if any(map(math.isnan, values)):
        return "none"
    middle, least, most = (_short(f(values)) for f in (statistics.median, min, max))
    return middle if least == most else f"{middle} ({least} to {most})"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
