"""``landmarks extract`` from its options to its last line."""

from rich.console import Console
from rich.markup import escape

from ray_jobs.config import JobConfig
from ray_jobs.display import discovery_shown, duration, shown
from ray_jobs.job import Inputs, Prepared, Summary, check, discover, job, sum_up
from ray_jobs.stages import Receipt
from storage.dataset import Dataset

_NAMES_SHOWN = 5
_LINES_SHOWN = 20


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
    dataset = check(config, inputs, overwrite)
    with discovery_shown(console) as on_discovery:
        discovery = discover(inputs, on_discovery)
    with job(dataset, config, inputs, discovery, overwrite) as prepared:
        _tell_plan(console, prepared)
        again = "the same command without --overwrite" if overwrite else "the same command again"
        receipts = _make(config, dataset, prepared, console, again) if prepared.revision.to_do else []
        summary = sum_up(dataset, prepared, receipts, began)
    _tell_summary(console, summary)
    return summary


def _make(
    config: JobConfig, dataset: Dataset, prepared: Prepared, console: Console, again: str
) -> list[Receipt]:
    from ray_jobs.extract import make_shards  # here, so that a job with nothing to do does not wait for Ray

    shards = prepared.revision.to_do
    clips = [clip for shard in shards for clip in prepared.clips_of[shard]]
    with shown(console, dataset.store, clips) as tally:
        try:
            for receipt in make_shards(config, prepared.job_id, shards):
                tally.receipts.append(receipt)
        except KeyboardInterrupt:
            whole = len(dataset.done().keys() & set(shards))
            console.print(
                f"stopped: {whole} of {len(shards)} shards of this run are whole in "
                f"{escape(dataset.store.location)}; run {again} to go on"
            )
            raise
    return tally.receipts


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
    shards = prepared.revision.to_do
    to_do = sum(len(prepared.clips_of[shard]) for shard in shards)
    console.print(
        f"found {len(found.clips):,} clips{f' (passed over {rest})' if rest else ''}; "
        f"to do: {to_do:,} clips in {len(shards):,} shards"
    )
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
        )
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


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
