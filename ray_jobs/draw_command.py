"""What ``landmarks draw`` takes."""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from extraction.errors import JobError
from ray_jobs.command_options import Json, names

if TYPE_CHECKING:
    from ray_jobs.pictures import Drawn, Request

_WHAT, _WHICH, _HOW = "What is drawn", "Which clips", "How it looks"


def draw(
    out: Annotated[str, typer.Argument(help="The data set: a folder, or a URI such as s3://bucket/folder.")],
    clip: Annotated[str | None, typer.Argument(help="Id of the clip, unless some are sampled.")] = None,
    frame: Annotated[
        list[int] | None,
        typer.Option(help="Position of a frame; several draw several pictures.", rich_help_panel=_WHAT),
    ] = None,
    video: Annotated[
        str | None,
        typer.Option(help="The whole clip: 'mp4' (H.264), 'gif' or 'webp'.", rich_help_panel=_WHAT),
    ] = None,
    every: Annotated[
        int, typer.Option(help="Of a video, every N-th frame; it takes as long.", rich_help_panel=_WHAT)
    ] = 1,
    sheet: Annotated[
        int | None,
        typer.Option(help="So many evenly spaced frames in one picture.", rich_help_panel=_WHAT),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OUT2", help="Another data set, beside it with the difference.", rich_help_panel=_WHAT
        ),
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(help="So many clips of the whole data set, by chance.", rich_help_panel=_WHICH),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of that chance; 0 by default.", rich_help_panel=_WHICH)
    ] = None,
    splits: Annotated[
        str | None, typer.Option(help="Samples of these splits only: train,dev.", rich_help_panel=_WHICH)
    ] = None,
    individual: Annotated[
        bool | None,
        typer.Option(
            "--individual/--no-individual", help="Of a sample, each part close up.", rich_help_panel=_WHICH
        ),
    ] = None,
    combined: Annotated[
        bool | None,
        typer.Option(
            "--combined/--no-combined", help="Of a sample, the frame with all parts.", rich_help_panel=_WHICH
        ),
    ] = None,
    grid: Annotated[
        bool | None,
        typer.Option("--grid/--no-grid", help="All samples in one picture, too.", rich_help_panel=_WHICH),
    ] = None,
    on: Annotated[
        str, typer.Option(help="'frames', or 'black', which needs no input.", rich_help_panel=_HOW)
    ] = "frames",
    frames: Annotated[
        str | None,
        typer.Option(help="FRAMES or ROOT, if the input no longer lies there.", rich_help_panel=_HOW),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="With --frames: where its annotations lie, if elsewhere.", rich_help_panel=_HOW),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Longer side of a frame's picture in px; 512 of samples.", rich_help_panel=_HOW),
    ] = None,
    to: Annotated[str, typer.Option(help="Folder for the pictures.", rich_help_panel=_HOW)] = ".",
    as_json: Json = False,
) -> int:
    """Draw landmarks or masks over a clip's frames; by default one PNG, of the frame with most found."""
    from ray_jobs.clip_frames import Background
    from ray_jobs.pictures import Request, draw_samples, sample_clips

    _check(clip, frame, video, sheet, num_samples, every)
    kinds = {"individual": individual, "combined": combined, "grid": grid}
    of_samples = {"--seed": seed, "--splits": splits}
    for name, wanted in kinds.items():
        of_samples[f"--{'' if wanted else 'no-'}{name}"] = wanted
    _check_samples(clip, "--video" if video else "--sheet" if sheet is not None else "", of_samples)
    _check_background(on, frames, annotations)
    background = Background(on == "black", frames, annotations)
    request = Request(out, to, background, image_size, against)
    chosen = [clip] if clip is not None else sample_clips(request, num_samples or 0, seed or 0, names(splits))
    if clip is None and video is None and sheet is None:
        made = draw_samples(request, chosen, seed or 0, *(wanted is not False for wanted in kinds.values()))
    else:
        made = [drawn for one in chosen for drawn in _clip(request, one, frame or [], video, every, sheet)]
    if as_json:
        print(json.dumps([dataclasses.asdict(drawn) for drawn in made], indent=2))
    else:
        for drawn in made:
            print(drawn.path)
    return 0


def _check(
    clip: str | None,
    frame: list[int] | None,
    video: str | None,
    sheet: int | None,
    num_samples: int | None,
    every: int,
) -> None:
    from extraction.drawn_video import FORMATS

    if (clip is None) == (num_samples is None):
        found = "neither" if clip is None else "both"
        raise JobError(
            f"expected a CLIP or --num-samples N, found {found}: `landmarks view OUT --detailed` lists the "
            "clips"
        )
    kinds = [
        name
        for name, value in (("--frame", frame), ("--video", video), ("--sheet", sheet))
        if value is not None
    ]
    if len(kinds) > 1:
        raise JobError(f"expected one of --frame, --video and --sheet, found {' and '.join(kinds)}")
    if frame and num_samples is not None:
        raise JobError("--frame is for one CLIP: of samples a frame is chosen by chance")
    if video is not None and video not in FORMATS:
        raise JobError(f"--video must be {', '.join(FORMATS)}, found {video!r}")
    if every != 1 and video is None:
        raise JobError("--every is for --video")


def _check_samples(clip: str | None, kind: str, given: Mapping[str, object]) -> None:
    """Options of samples are for samples, and those that choose their pictures not for videos and sheets."""
    found = [name for name, value in given.items() if value is not None]
    if clip is not None and found:
        raise JobError(
            f"{' and '.join(found)}: for samples of the whole data set, found the CLIP {clip!r}: give "
            "--num-samples N instead of a CLIP, or leave this out"
        )
    pictures = [name for name in found if name not in ("--seed", "--splits")]
    if kind and pictures:
        raise JobError(
            f"{' and '.join(pictures)}: for pictures of samples, found {kind}, of which there is one a clip: "
            "leave one of them out"
        )


def _check_background(on: str, frames: str | None, annotations: str | None) -> None:
    from storage.s3 import expect_place
    from storage.stores import is_remote, location_of

    if on not in ("frames", "black"):
        raise JobError(f"--on must be 'frames' or 'black', found {on!r}")
    if on == "black" and frames is not None:
        raise JobError("--frames is for --on frames: on black no input is needed, leave one of them out")
    if annotations is not None and frames is None:
        raise JobError("--annotations goes with --frames ROOT: clips are found there by what they say")
    if frames is None or not is_remote(frames):
        return
    expect_place(frames)
    if annotations is not None:
        raise JobError(
            f"--annotations goes with a folder of this machine, found --frames {location_of(frames)}: below "
            "a URI each clip lies where it lay below FRAMES then: leave --annotations out"
        )


def _clip(
    request: "Request", clip: str, frame: list[int], video: str | None, every: int, sheet: int | None
) -> "list[Drawn]":
    from ray_jobs.pictures import draw_frames, draw_sheet, draw_video

    if video is not None:
        return [draw_video(request, clip, video, every)]
    if sheet is not None:
        return [draw_sheet(request, clip, sheet)]
    return draw_frames(request, clip, frame)
