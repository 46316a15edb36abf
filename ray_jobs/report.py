"""``landmarks report``: what stands in a data set, on one page."""

import dataclasses
import json
import os
from typing import Any

from extraction.errors import JobError
from storage import report as reports
from storage.dataset import Dataset
from storage.report import Report
from storage.report_records import Timing


def report(out: str, to: str | None, sample: int, seed: int, as_json: bool) -> int:
    """Writes the page, and prints where it lies, or what it says as JSON.

    Args:
        out: The data set.
        to: File of the page; None for the data set's name and ``-report.html`` in the current folder.
        sample: Clips whose coordinates are read.
        seed: By which they are chosen.
        as_json: Print JSON; write a page only where ``to`` is given.

    Raises:
        JobError: If there is no data set, it is damaged, or the page cannot be written.
    """
    dataset = Dataset.open(out)
    made = reports.build(dataset, sample, seed)
    path = None if as_json and to is None else to or _default_name(dataset)
    if path is not None:
        _write(path, html(dataset, made))
    if as_json:
        print(json.dumps({**as_dict(made), "page": path}, indent=2, default=str))
    else:
        total, size = made.scan.total(), os.path.getsize(str(path))
        print(f"{path}: {total.clips:,} clips, {total.frames:,} frames, {size / 1e3:,.0f} kB")
    return 0


def html(dataset: Dataset, made: Report) -> str:
    """The page of a report.

    Args:
        dataset: Of which it is.
        made: What it says.
    """
    from ray_jobs.report_charts import skeleton_svg
    from ray_jobs.report_page import page

    thumbnails = {}
    for outlier in made.outliers:
        landmarks, position = reports.fullest_frame(dataset, outlier.clip_id)
        label = f"skeleton in frame {landmarks.first_frame + position}"
        thumbnails[outlier.clip_id] = skeleton_svg(landmarks, position, label)
    return page(made, thumbnails)


def as_dict(made: Report) -> dict[str, Any]:
    """A report as JSON has it; what is long stands in it as a histogram only."""
    scan = made.scan
    return {
        "location": made.location,
        "made": made.made.isoformat(timespec="seconds"),
        "config": dict(made.config),
        "parts": dict(made.parts),
        "has_masks": made.has_masks,
        "progress": [dataclasses.asdict(split) for split in made.splits],
        "splits": {name: _detection(group) for name, group in sorted(scan.splits.items())},
        "signers": {name: _detection(group) for name, group in sorted(scan.signers.items())},
        "frames_without_hand": scan.frames_without_hand,
        "frames_with_one_hand": scan.frames_with_one_hand,
        "annotations": dataclasses.asdict(made.annotations) if made.annotations else None,
        "failures": [dataclasses.asdict(kind) for kind in made.failures],
        "hosts": [_timing(host) for host in scan.hosts()],
        "workers": [_timing(worker) for _, worker in sorted(scan.workers.items()) if worker.worker],
        "made_with": [
            {"engine": engine, "mediapipe_version": version, "delegate": delegate, "clips": clips}
            for (engine, version, delegate), clips in scan.made_with.most_common()
        ],
        "attempts": dict(sorted(scan.attempts.items())),
        "retry_reasons": dict(scan.retry_reasons.most_common()),
        "worst_hands": [dataclasses.asdict(strip) for strip in scan.worst_hands],
        "histograms": {name: dataclasses.asdict(values) for name, values in made.histograms.items()},
        "sampled": made.sampled,
        "sampled_without_hands": made.sampled_without_hands,
        "seed": made.seed,
        "outliers": [dataclasses.asdict(outlier) for outlier in made.outliers],
    }


def _timing(one: Timing) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "lost": dict(one.lost), "frames_per_second": one.frames_per_second()}


def _detection(group: Any) -> dict[str, Any]:
    rates = {part: group.rate(part) for part in group.present}
    # A Counter comes out of asdict as one of pairs.
    present = {"present": dict(group.present)}
    return {**dataclasses.asdict(group), **present, "ok_rate": group.ok_rate(), "detection_rates": rates}


def _default_name(dataset: Dataset) -> str:
    from ray_jobs.pictures import file_name

    name = os.path.basename(dataset.store.location.rstrip("/"))
    return f"{file_name(name) or 'landmarks'}-report.html"


def _write(path: str, page: str) -> None:
    from extraction.drawn_files import whole_or_absent

    if os.path.isdir(path):
        raise JobError(f"{path}: expected a file for the page, found a folder: give --to {path}/report.html")
    # Lone surrogates cannot come out of Parquet; whatever else may be there is shown as it is written here.
    with whole_or_absent(path) as temporary, open(temporary, "wb") as file:
        file.write(page.encode("utf-8", "backslashreplace"))
