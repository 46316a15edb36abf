"""The command line: ``landmarks extract|progress|view|failures|draw``."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from extraction.detectors import DetectorOptions
from extraction.errors import JobError
from extraction.frames import FrameOptions
from extraction.gl import missing_library
from extraction.supervisor import Policy
from ray_jobs import views
from ray_jobs.config import JobConfig
from ray_jobs.job import Inputs
from storage.running import process_began

# Typer gives this base of BadParameter no public name of its own.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="landmarks",
    help="Turns sign-language video into a verified Parquet data set of MediaPipe landmarks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Instead of those of the process.

    Returns:
        The exit code: 0 all done, 1 finished with failed clips, 2 wrong use or environment, 130 stopped.
    """
    return guarded(lambda: int(app(arguments, standalone_mode=False) or 0))


def guarded(command: Callable[[], int]) -> int:
    """Runs a command; what is wrong with its use or this machine is told in a sentence, not a trace.

    Args:
        command: Returns its exit code.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        return command()
    except JobError as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}")
        return 2
    except _UsageError as error:
        if not error.format_message():  # no command at all: its help has been shown
            return 2
        errors.print(f"[red]error:[/red] {escape(error.format_message())} (landmarks --help)")
        return 2
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # Whatever else it is, it is not "finished with failed clips", which a trace's exit code 1 would say.
        explained = missing_library(error)
        if explained is None:
            traceback.print_exc()
        errors.print(f"[red]error:[/red] {escape(explained or str(error))}")
        return 2


@app.command(context_settings={"ignore_unknown_options": False})
def extract(
    frames: Annotated[
        str | None, typer.Argument(metavar="FRAMES", help="Folder of clips: folders of images, video files.")
    ] = None,
    out: Annotated[str | None, typer.Argument(metavar="OUT", help="Where the data set is to be.")] = None,
    manifest: Annotated[
        str | None, typer.Option(help="CSV or Parquet with clip_id, uri [split, signer, gloss, text, fps].")
    ] = None,
    split_from: Annotated[
        str, typer.Option(help="'folder': first path component train/dev/val/test; 'none'.")
    ] = "folder",
    include: Annotated[list[str] | None, typer.Option(help="Only clips whose id matches this glob.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No clip whose id matches this glob.")] = None,
    splits: Annotated[str, typer.Option(help="Only these splits: train,dev.")] = "",
    max_clips_per_split: Annotated[int | None, typer.Option(help="At most so many of each split.")] = None,
    allow_outside: Annotated[
        bool, typer.Option(help="Let a manifest's relative paths leave its folder by '..'.")
    ] = False,
    engine: Annotated[str, typer.Option(help="'holistic', or 'package.module:function'.")] = "holistic",
    static: Annotated[bool, typer.Option(help="Detect each frame afresh instead of tracking.")] = False,
    model_complexity: Annotated[int, typer.Option(help="Pose model: 0 lite, 1 full, 2 heavy.")] = 1,
    refine_face: Annotated[bool, typer.Option(help="478 face points with irises.")] = False,
    smooth: Annotated[bool, typer.Option(help="Filter landmarks over time.")] = True,
    min_detection_confidence: Annotated[float, typer.Option()] = 0.5,
    min_tracking_confidence: Annotated[float, typer.Option()] = 0.5,
    fps: Annotated[float, typer.Option(help="Of frame folders that do not say.")] = 25.0,
    max_pixels: Annotated[int, typer.Option(help="A larger frame is unreadable.")] = 50_000_000,
    max_frames_per_row: Annotated[int, typer.Option(help="A longer clip becomes several rows.")] = 10_000,
    workers: Annotated[int | None, typer.Option(help="Detectors at once; one a core by default.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster, or 'auto'.", envvar="RAY_ADDRESS")
    ] = None,
    dashboard: Annotated[bool, typer.Option(help="Show the dashboard of a local Ray.")] = False,
    max_attempts: Annotated[int, typer.Option(help="Tries for a clip that loses its detector.")] = 2,
    frame_timeout: Annotated[float, typer.Option(help="Seconds without progress before a restart.")] = 30.0,
    start_timeout: Annotated[float, typer.Option(help="Seconds a detector has to come up.")] = 120.0,
    retry_failed: Annotated[bool, typer.Option(help="Try clips again that failed before.")] = False,
    overwrite: Annotated[
        bool, typer.Option(help="Delete the data set in OUT first. Leave it out to go on.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Extract landmarks of all clips in FRAMES into the data set OUT; go on where it stopped before."""
    if manifest and frames and out is None:
        frames, out = None, frames
    if out is None:
        raise JobError("expected FRAMES and OUT: landmarks extract FRAMES OUT (or --manifest FILE OUT)")
    config = JobConfig(
        out=out if "://" in out else os.path.abspath(out),
        detector=DetectorOptions(
            engine=engine,
            static=static,
            model_complexity=model_complexity,
            refine_face=refine_face,
            smooth=smooth,
            min_detection_confidence=min_detection_confidence,
            min_tracking_confidence=min_tracking_confidence,
        ),
        frames=FrameOptions(max_pixels=max_pixels, default_fps=fps),
        policy=Policy(max_attempts, frame_timeout, start_timeout),
        max_frames_per_row=max_frames_per_row,
        retry_failed=retry_failed,
        workers=workers,
        address=address,
        dashboard=dashboard,
    )
    inputs = Inputs(
        frames=frames,
        manifest=manifest,
        split_from=split_from,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        splits=tuple(filter(None, splits.split(","))),
        max_clips_per_split=max_clips_per_split,
        allow_outside=allow_outside,
    )
    from ray_jobs.run import run  # here, so that the other commands do not wait for Ray

    summary = run(
        config, inputs, overwrite, process_began(), Console(stderr=as_json, soft_wrap=True, highlight=False)
    )
    if as_json:
        _print_json({**asdict(summary), "exit_code": summary.exit_code})
    return summary.exit_code


@app.command()
def progress(out: Out, as_json: Json = False) -> int:
    """Show clips done, failed and to do by split, while a job runs and after."""
    return views.progress(out, as_json)


@app.command()
def view(
    out: Out,
    clip: Annotated[str | None, typer.Argument(help="Id of one clip.")] = None,
    detailed: Annotated[bool, typer.Option(help="Every clip; of one clip, every stretch and error.")] = False,
    as_json: Json = False,
) -> int:
    """Show counts, shapes, detection rates and stretches with missing hands."""
    return views.view(out, clip, detailed, as_json)


@app.command()
def failures(out: Out, as_json: Json = False) -> int:
    """List the clips that failed, and why."""
    return views.failures(out, as_json)


@app.command()
def draw(
    out: Out,
    clip: Annotated[str, typer.Argument(help="Id of the clip.")],
    frames: Annotated[
        str | None, typer.Option(help="FRAMES, if the input no longer lies where it was.")
    ] = None,
    frame: Annotated[
        list[int] | None, typer.Option(help="Position of a frame; several draw several pictures.")
    ] = None,
    to: Annotated[str, typer.Option(help="Folder for the pictures.")] = ".",
) -> int:
    """Draw landmarks over frames of a clip, one PNG a frame; the frame with most found by default."""
    from ray_jobs.pictures import draw_clip

    for path in draw_clip(out, clip, frames, frame or [], to):
        print(path)
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


if __name__ == "__main__":
    sys.exit(main())
