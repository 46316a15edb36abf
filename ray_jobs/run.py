"""``landmarks extract`` from its options to its last line."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.markup import escape

from extraction import gl_host
from extraction.gl import Meaning
from extraction.gl_choice import foreseen
from extraction.sources import Discovery
from ray_jobs.config import JobConfig
from ray_jobs.display import discovery_shown, duration, shown
from ray_jobs.job import Inputs, Prepared, check, discover, job, resolved
from ray_jobs.remote_model import with_model_here
from ray_jobs.summary import Summary, sum_up
from ray_jobs.tally import Tally
from ray_jobs.worker_log import LogTail
from storage.dataset import LOGS, Dataset

_NAMES_SHOWN = 5
_LINES_SHOWN = 20
_LIGHT = (Meaning.NOISE, Meaning.UNKNOWN)
"""Lines of the native log that are not worth a word at the end of a job."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """In the body, SIGTERM stops a job as Ctrl-C does: what is whole stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@_stopped_by_sigterm()
def run(config: JobConfig, inputs: Inputs, overwrite: bool, began: float, console: Console) -> Summary:
    """Runs a job and tells a person about it.

    Args:
        config: What to do.
        inputs: With what.
        overwrite: Delete an existing data set first.
        began: Unix time at which the command started.
        console: Where to tell.

    Raises:
        JobError: If the job cannot be done.
        KeyboardInterrupt: If it was stopped; what is whole stays.
    """
    inputs = resolved(inputs)
    config = replace(with_model_here(config), inputs_uri=inputs.uri)
    dataset = check(config, inputs, overwrite)
    alone = None if config.address else foreseen(config.detector, config.policy.gl_fallback)
    with job(dataset, config, inputs, _found(console, inputs), overwrite) as prepared:
        _tell_plan(console, prepared)
        if alone:
            gl_host.remember(alone[0], prepared.job_id)
            console.print(f"[yellow]warning:[/yellow] {escape(alone[1])}")
        again = "the same command without --overwrite" if overwrite else "the same command again"
        told = {alone[1]} if alone else set[str]()
        revision = prepared.revision
        tally = Tally(revision.clips_to_do, revision.frames_to_do, config.max_failures, again)
        if prepared.revision.to_do:
            _make(config, dataset, prepared, console, tally, told)
        summary = sum_up(dataset, prepared, tally, began)
    _tell_summary(console, summary)
    return summary


def _found(console: Console, inputs: Inputs) -> Discovery:
    with discovery_shown(console) as on_discovery:
        return discover(inputs, on_discovery)


def _make(
    config: JobConfig, dataset: Dataset, prepared: Prepared, console: Console, tally: Tally, told: set[str]
) -> None:
    from ray_jobs.extract import make_shards  # here, so that a job with nothing to do does not wait for Ray

    shards = prepared.revision.to_do
    follow = LogTail(dataset.store) if config.native_log == "show" and dataset.store.is_local else None
    if config.native_log == "show" and follow is None:
        console.print(
            "[yellow]warning:[/yellow] --native-log show follows local data sets only: the logs will stand "
            f"in {escape(dataset.store.location)}/{LOGS} after each shard"
        )
    try:
        with shown(console, dataset.store, tally, follow, told):
            for receipt in make_shards(
                config, prepared.job_id, shards, lambda text: console.print(escape(text))
            ):
                tally.add(receipt)
                if len(tally.receipts) == len(shards):
                    tally.finish()  # before Ray is shut down, which takes its time
    except KeyboardInterrupt:
        if tally.complaint:
            return
        whole = len(dataset.done().keys() & set(shards))
        console.print(
            f"stopped: {whole} of {len(shards)} shards of this run are whole in "
            f"{escape(dataset.store.location)}; run {tally.again} to go on"
        )
        raise


def _tell_plan(console: Console, prepared: Prepared) -> None:
    found = prepared.discovery
    passed_over = {
        "other files": found.other_files,
        "hidden files": found.hidden_files,
        "empty folders": found.empty_folders,
        "link loops": found.link_loops,
        "broken links": found.broken_links,
    }
    rest = ", ".join(f"{count:,} {name}" for name, count in passed_over.items() if count)
    revision = prepared.revision
    console.print(
        f"found {prepared.num_found:,} clips{f' (passed over {rest})' if rest else ''}; "
        f"to do: {revision.clips_to_do:,} clips in {len(revision.to_do):,} shards"
    )
    for line in prepared.notes:
        console.print(escape(line))
    for path, reason in found.unreadable[:_LINES_SHOWN]:
        console.print(f"[yellow]warning:[/yellow] {escape(path)}: cannot be listed: {escape(reason)}")
    if len(found.unreadable) > _LINES_SHOWN:
        console.print(f"and {len(found.unreadable) - _LINES_SHOWN:,} more folders that cannot be listed")
    if changed := prepared.revision.changed:
        console.print(
            f"[yellow]warning:[/yellow] the input of {len(changed):,} finished clips has changed since "
            f"({escape(_some(changed))}); they are kept as they are: use --overwrite to extract all anew"
        )


def _tell_summary(console: Console, summary: Summary) -> None:
    if summary.shards:
        rate = f", {summary.frames_per_second:.1f} frames/s" if summary.frames_per_second else ""
        start = summary.seconds_to_first_frame
        console.print(
            f"extracted {summary.clips:,} clips, {summary.frames:,} frames "
            f"in {duration(summary.seconds)}{rate}"
            + (f" (first frame after {start:.1f} s)" if start is not None else "")
            + (f"; {summary.kept:,} more clips were done before a kill" if summary.kept else "")
        )
    lost = {
        event.removeprefix("lost: "): n for event, n in summary.events.items() if event.startswith("lost")
    }
    if lost:
        console.print(
            f"detectors lost: {escape(_counted(lost))}; a clip that was interrupted was done again from its "
            "first frame, or failed (columns attempts and retry_reasons)"
        )
    weighty = {m: count for m, count in summary.log_lines.items() if m not in _LIGHT}
    if weighty:
        console.print(
            f"native code wrote in {escape(summary.out)}/{LOGS}: {_counted(weighty)}; "
            "`landmarks explain FILE` says what a log means"
        )
    for node in summary.bad_nodes:
        console.print(f"[yellow]warning:[/yellow] {escape(node)}; what it had was made elsewhere")
    if summary.unreadable_frames:
        console.print(
            f"{summary.unreadable_frames:,} of these frames could not be read; they keep their place, and "
            "`landmarks view OUT CLIP --detailed` says why"
        )
    done = sum(split.done for split in summary.splits)
    failed = sum(split.failed for split in summary.splits)
    to_do = sum(split.to_do for split in summary.splits)
    by_split = ", ".join(f"{split.split} {split.done:,}" for split in summary.splits)
    console.print(
        f"{escape(summary.out)}: {done:,} clips done ({escape(by_split)}), {failed:,} failed, {to_do:,} to do"
    )
    if failed:
        console.print(
            f"see the failed clips with: landmarks failures {escape(summary.out)}; "
            "try them again with the same command and --retry-failed"
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
