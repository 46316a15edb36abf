"""``landmarks extract``: everything that it takes, in panels; what it does lies in :mod:`ray_jobs.run`."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from extraction.detectors import DetectorOptions, default_engine
from extraction.errors import FailureLimitError, JobError
from extraction.frames import FrameOptions
from extraction.policy import Policy, remedies
from ray_jobs.command_options import Json, names
from ray_jobs.config import MEMORY_PER_ACTOR_MB, FailureLimit, JobConfig
from ray_jobs.job import Inputs
from ray_jobs.placement import parse_labels, parse_workers
from ray_jobs.submitted import place_of
from storage.running import process_began

_CLIPS, _DETECTOR, _FAULTS, _MACHINES = "Which clips", "The detector", "When things go wrong", "Machines"


def _option(panel: str, help: str | None = None) -> Any:  # noqa: A002
    return typer.Option(help=help, rich_help_panel=panel)


def extract(
    frames: Annotated[
        str | None,
        typer.Argument(
            metavar="FRAMES", help="Folder of clips: folders of images, video files; or its URI (s3://...)."
        ),
    ] = None,
    out: Annotated[str | None, typer.Argument(metavar="OUT", help="Where the data set is to be.")] = None,
    manifest: Annotated[
        str | None,
        _option(
            _CLIPS,
            "CSV or Parquet, or its URI: clip_id, uri, and perhaps split, signer, gloss, text, fps ...",
        ),
    ] = None,
    split_from: Annotated[
        str, _option(_CLIPS, "'folder': first path component train/dev/val/test; 'none'.")
    ] = "folder",
    include: Annotated[list[str] | None, _option(_CLIPS, "Only clips whose id matches this glob.")] = None,
    exclude: Annotated[list[str] | None, _option(_CLIPS, "No clip whose id matches this glob.")] = None,
    splits: Annotated[str, _option(_CLIPS, "Only these splits: train,dev.")] = "",
    max_clips_per_split: Annotated[int | None, _option(_CLIPS, "At most so many of each split.")] = None,
    allow_outside: Annotated[
        bool, _option(_CLIPS, "Let a manifest's relative paths leave its folder by '..'.")
    ] = False,
    dataset: Annotated[
        str | None,
        _option(_CLIPS, "FRAMES is this data set as unpacked: a name of `landmarks datasets`, or 'auto'."),
    ] = None,
    annotations: Annotated[
        str | None, _option(_CLIPS, "With --dataset: where its annotations lie, if elsewhere.")
    ] = None,
    unannotated: Annotated[
        bool, _option(_CLIPS, "With --dataset: take clips without an annotation, too.")
    ] = False,
    fps: Annotated[float, _option(_CLIPS, "Of frame folders that do not say.")] = 25.0,
    max_pixels: Annotated[int, _option(_CLIPS, "A larger frame is unreadable.")] = 50_000_000,
    engine: Annotated[
        str,
        _option(
            _DETECTOR,
            "'holistic', 'tasks', 'hands+pose+face', 'segmenter', or 'package.module:function'; "
            "by default the first that this Python's MediaPipe has.",
        ),
    ] = "",
    delegate: Annotated[
        str, _option(_DETECTOR, "'cpu', 'gpu', or 'auto': the GPU where the host has one to use.")
    ] = "cpu",
    model: Annotated[str, _option(_DETECTOR, "Model file or its URI, instead of the engine's own.")] = "",
    extra_parts: Annotated[
        str, _option(_DETECTOR, "Of left_hand_world,right_hand_world,face_blendshapes.")
    ] = "",
    mask: Annotated[str, _option(_DETECTOR, "Segmenter: 'category' or 'confidence'.")] = "category",
    static: Annotated[bool, _option(_DETECTOR, "Detect each frame afresh instead of tracking.")] = False,
    model_complexity: Annotated[int, _option(_DETECTOR, "Pose model: 0 lite, 1 full, 2 heavy.")] = 1,
    refine_face: Annotated[bool, _option(_DETECTOR, "478 face points with irises.")] = False,
    smooth: Annotated[bool, _option(_DETECTOR, "Filter landmarks over time.")] = True,
    min_detection_confidence: Annotated[float, _option(_DETECTOR)] = 0.5,
    min_tracking_confidence: Annotated[float, _option(_DETECTOR)] = 0.5,
    retry_failed: Annotated[bool, _option(_FAULTS, "Try clips again that failed before.")] = False,
    overwrite: Annotated[
        bool, _option(_FAULTS, "Delete the data set in OUT first. Leave it out to go on.")
    ] = False,
    max_failures: Annotated[
        str, _option(_FAULTS, "Stop when more clips fail: a number, or a share of at least 50 tried.")
    ] = "20%",
    max_attempts: Annotated[int, _option(_FAULTS, "Tries for a clip that loses its detector.")] = 2,
    gl_retries: Annotated[int, _option(_FAULTS, "Tries in one process to get a lost GL context back.")] = 3,
    gl_fallback: Annotated[
        str, _option(_FAULTS, "Where the GPU fails: 'cpu' goes on there, 'fail' does not.")
    ] = "cpu",
    frame_timeout: Annotated[float, _option(_FAULTS, "Seconds without progress before a restart.")] = 30.0,
    start_timeout: Annotated[float, _option(_FAULTS, "Seconds a detector has to come up.")] = 120.0,
    refresh_clips: Annotated[
        int, _option(_FAULTS, "Make the detector anew after so many clips; 0: never.")
    ] = 0,
    refresh_minutes: Annotated[
        float, _option(_FAULTS, "Make the detector anew after so long; 0: never.")
    ] = 60.0,
    max_worker_rss_mb: Annotated[
        int, _option(_FAULTS, "Replace a detector's process that has grown to this; 0: never.")
    ] = 4096,
    idle_seconds: Annotated[
        float, _option(_FAULTS, "Let a detector go that has had no clip for so long; 0: never.")
    ] = 300.0,
    native_log: Annotated[
        str, _option(_FAULTS, "What native code writes: 'file' in OUT/logs, 'show' here too.")
    ] = "file",
    precision: Annotated[
        str, _option(_MACHINES, "'float32', or 'float16': coordinates to 11 bits, half the size.")
    ] = "float32",
    max_frames_per_row: Annotated[int, _option(_MACHINES, "A longer clip becomes several rows.")] = 10_000,
    scratch_gb: Annotated[
        float, _option(_MACHINES, "Disk below TMPDIR for what each worker fetches ahead from a URI, in GB.")
    ] = 4.0,
    workers: Annotated[
        str,
        _option(_MACHINES, "Detectors at once: N, or MIN..MAX to grow with the cluster; default: all cores."),
    ] = "",
    gpus_per_actor: Annotated[
        float, _option(_MACHINES, "Share of a GPU for each worker with --delegate gpu, or auto: 0.25.")
    ] = 0.0,
    gpu_workers: Annotated[
        int | None, _option(_MACHINES, "With --delegate auto: of the workers, those that get that share.")
    ] = None,
    memory_per_actor: Annotated[
        int, _option(_MACHINES, "MB that a worker asks of a cluster's node; 0: none.")
    ] = MEMORY_PER_ACTOR_MB,
    node_label: Annotated[
        list[str] | None, _option(_MACHINES, "With --address: only nodes with this label, NAME=VALUE.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a running Ray cluster, or 'auto'.", envvar="RAY_ADDRESS", rich_help_panel=_MACHINES
        ),
    ] = None,
    dashboard: Annotated[bool, _option(_MACHINES, "Show the dashboard of a local Ray.")] = False,
    as_json: Json = False,
) -> int:
    """Extract landmarks of all clips in FRAMES into the data set OUT; go on where it stopped before."""
    if manifest and frames and out is None:
        frames, out = None, frames
    if out is None:
        raise JobError("expected FRAMES and OUT: landmarks extract FRAMES OUT (or --manifest FILE OUT)")
    min_workers, max_workers = parse_workers(workers)
    config = JobConfig(
        out=place_of(out),
        detector=DetectorOptions(
            engine=engine or default_engine(),
            delegate=delegate,
            model=model,
            extra_parts=names(extra_parts),
            mask=mask,
            static=static,
            model_complexity=model_complexity,
            refine_face=refine_face,
            smooth=smooth,
            min_detection_confidence=min_detection_confidence,
            min_tracking_confidence=min_tracking_confidence,
        ),
        frames=FrameOptions(max_pixels=max_pixels, default_fps=fps),
        policy=Policy(
            remedies=remedies(max_attempts, gl_retries),
            gl_fallback=gl_fallback,
            frame_timeout_s=frame_timeout,
            start_timeout_s=start_timeout,
            refresh_clips=refresh_clips,
            refresh_minutes=refresh_minutes,
            max_worker_rss_mb=max_worker_rss_mb,
            idle_s=idle_seconds,
        ),
        max_frames_per_row=max_frames_per_row,
        precision=precision,
        scratch_gb=scratch_gb,
        retry_failed=retry_failed,
        workers=max_workers,
        min_workers=min_workers,
        gpu_workers=gpu_workers,
        gpus_per_actor=gpus_per_actor,
        memory_per_actor_mb=memory_per_actor,
        node_labels=parse_labels(node_label or ()),
        address=address,
        dashboard=dashboard,
        native_log=native_log,
        max_failures=FailureLimit(max_failures),
    )
    inputs = Inputs(
        frames=frames,
        manifest=manifest,
        split_from=split_from,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        splits=names(splits),
        max_clips_per_split=max_clips_per_split,
        allow_outside=allow_outside,
        dataset=dataset,
        annotations=annotations,
        unannotated=unannotated,
    )
    from ray_jobs.run import run  # here, so that the other commands do not wait for Ray

    summary = run(
        config, inputs, overwrite, process_began(), Console(stderr=as_json, soft_wrap=True, highlight=False)
    )
    if as_json:
        print(json.dumps({**asdict(summary), "exit_code": summary.exit_code}, indent=2, default=str))
    if summary.complaint:
        raise FailureLimitError(summary.complaint)
    return summary.exit_code
