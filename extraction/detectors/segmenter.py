"""MediaPipe's image segmenter: no landmarks, but a mask of the person for every frame.

The model is that of selfie segmentation unless another one is named. It runs on both lines of MediaPipe.
"""

import ctypes
import importlib
import importlib.util
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction import models
from extraction.detectors import tasks_api
from extraction.detectors.protocol import DetectorInfo, DetectorOptions, refuse_unused
from extraction.errors import JobError
from extraction.landmarks import FOREGROUND_FROM, FrameLandmarks

Image = NDArray[np.uint8]

DELEGATES = ("cpu", "gpu")

_WHEEL_MODEL = Path("modules", "selfie_segmentation", "selfie_segmentation.tflite")
"""In the wheel of 0.10.21; those of 1.x carry no model."""
_CACHED_MODEL = "selfie_segmenter"
_TFLITE = (4, b"TFL3")
"""Where the mark of a TFLite file stands, and what it is: its FlatBuffers file identifier."""

# mediapipe/tasks/cc/vision/image_segmenter/calculators/tensors_to_segmentation_calculator.cc: of a model with
# one output, pixels above 0.5 are category 0 and all others 255, the mark of a pixel without a label.
_SINGLE_FOREGROUND = 0


def resolve(options: DetectorOptions, mediapipe_version: str | None) -> DetectorOptions:
    """Finds out, without importing MediaPipe, whether this engine can run here.

    Args:
        options: What the detector is to be; ``static`` is allowed, for each frame is segmented by itself.
        mediapipe_version: The installed version, or None where there is none.

    Returns:
        The options with the model's path and digest.

    Raises:
        JobError: If MediaPipe or the model is missing, the model is another one than the options say, or an
            option means nothing to this engine.
    """
    if mediapipe_version is None:
        raise JobError("engine 'segmenter' needs mediapipe, found none: install this project's dependencies")
    refuse_unused(
        options,
        "extra_parts",
        "model_complexity",
        "refine_face",
        "smooth",
        "min_detection_confidence",
        "min_tracking_confidence",
    )
    path = _model(options)
    _expect_tflite(path)
    _expect_masks(path)
    sha256 = models.digest(path)
    tasks_api.check_digest(options, str(path), sha256)
    return replace(options, static=False, model=str(path), model_sha256=sha256)


def create(options: DetectorOptions) -> "SegmenterDetector":
    """Makes the detector."""
    return SegmenterDetector(options)


class SegmenterDetector:
    """One ImageSegmenter for all clips.

    It keeps nothing from frame to frame: with MediaPipe 0.10.21 and 1.2.2 the masks of a clip were
    bit-identical in IMAGE and VIDEO mode, in reverse order, with other timestamps and after another clip. So
    it runs in IMAGE mode, which needs no clock.
    """

    def __init__(self, options: DetectorOptions) -> None:
        self._info = DetectorInfo(
            engine="segmenter",
            engine_version=importlib.import_module("mediapipe").__version__,
            delegate=options.delegate,
            num_points={},
            has_masks=True,
            closes_after_error=tasks_api.closes_after_error(),
        )
        self._mask = options.mask
        self._segmenter: Any = _make_segmenter(options)
        self._failed = False

    @property
    def info(self) -> DetectorInfo:
        """What this detector is."""
        return self._info

    def begin_clip(self, clip_id: str) -> None:
        """Nothing to clear."""

    def detect(self, image: Image, timestamp_ms: float) -> FrameLandmarks:  # noqa: ARG002
        """Segments the next frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            timestamp_ms: Not used by this engine.

        Returns:
            No parts; a mask (H, W) of classes, 0 where background and 1 where the person is or the model's
            own class; or of ``round(255 * c)`` with the foreground's confidence c, which is foreground from
            :data:`extraction.landmarks.FOREGROUND_FROM`.

        Raises:
            RuntimeError: If the graph fails (from MediaPipe; ValueError for some failures).
        """
        height, width = image.shape[:2]
        if 1 in (height, width):
            # MediaPipe scales classes by 1 / (side - 1): of a side of one pixel it reads outside its tensor.
            image = image.repeat(2, axis=0).repeat(2, axis=1)
        found = self._segment(tasks_api.to_image(image))
        if self._mask == "category":
            mask, foreground_from = _classes(found), 1
        else:
            mask, foreground_from = _confidences(found), FOREGROUND_FROM
        mask = mask[:height, :width]
        return FrameLandmarks({}, None, _to_png(mask), bool(mask.max() >= foreground_from))

    def _segment(self, image: Any) -> Any:
        try:
            return self._segmenter.segment(image)
        except Exception:
            self._failed = True
            if not self._info.closes_after_error:
                # One reference too many, so that it is never collected: its __del__ would hang.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._segmenter))
            raise

    def close(self) -> None:
        """Closes the segmenter; after an error only where ``info.closes_after_error`` holds."""
        segmenter, self._segmenter = self._segmenter, None
        if segmenter is None or (self._failed and not self._info.closes_after_error):
            return
        try:
            segmenter.close()
        except (RuntimeError, ValueError):
            # A poisoned graph says once more what was wrong with it, and is freed all the same.
            if not self._failed:
                raise


def _model(options: DetectorOptions) -> Path:
    """The model that was asked for; else the one in MediaPipe's wheel, or the one that was fetched."""
    package = importlib.util.find_spec("mediapipe")
    in_wheel = Path(package.origin).parent / _WHEEL_MODEL if package and package.origin else None
    own = in_wheel if in_wheel is not None and in_wheel.exists() else models.find_model(_CACHED_MODEL)
    if options.model:
        return tasks_api.place_here(options, own)
    if own is None:
        raise JobError(
            "engine 'segmenter' needs a model, and this mediapipe carries none: "
            f"{models.how_to_get(_CACHED_MODEL)}, or give another one with --model"
        )
    return own


def _expect_tflite(path: Path) -> None:
    start, mark = _TFLITE
    try:
        with path.open("rb") as file:
            head = file.read(start + len(mark))
    except OSError as error:
        raise JobError(
            f"{path}: expected the segmenter's model, a .tflite file, and it cannot be read: "
            f"{error.strerror}: leave --model out for this project's own"
        ) from error
    if head[start:] != mark:
        raise JobError(
            f"{path}: expected the segmenter's model, a .tflite file with {mark.decode()} in bytes 4 to 7, "
            f"found {head[start:]!r}: leave --model out for this project's own"
        )


def tflite_shapes(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of a model's first input and first output.

    Reads the FlatBuffer of tensorflow/lite/schema/schema.fbs: Model.subgraphs is field 2; SubGraph has
    tensors 0, inputs 1, outputs 2; Tensor.shape is field 0.

    Raises:
        ValueError: If it is no whole model; or struct.error.
    """

    def i32(at: int) -> int:
        return int(struct.unpack_from("<i", data, at)[0])

    def field(table: int, number: int) -> int:
        vtable, at = table - i32(table), 4 + 2 * number
        size = struct.unpack_from("<H", data, vtable)[0]
        offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
        if not offset:
            raise ValueError("a field is missing")
        return table + int(offset)

    def items(at: int) -> tuple[int, int]:
        vector = at + i32(at)
        return vector + 4, i32(vector)

    def table_in(at: int, index: int) -> int:
        place = items(at)[0] + 4 * index
        return place + i32(place)

    graph = table_in(field(i32(0), 2), 0)
    shapes = []
    for number in (1, 2):
        tensor = table_in(field(graph, 0), i32(items(field(graph, number))[0]))
        first, count = items(field(tensor, 0))
        shapes.append(tuple(i32(first + 4 * index) for index in range(count)))
    return shapes[0], shapes[1]


def _expect_masks(path: Path) -> None:
    """Refuses a model that gives no picture of the size of its input: MediaPipe makes masks of anything."""
    try:
        taken, given = tflite_shapes(path.read_bytes())
    except (struct.error, ValueError) as error:
        raise JobError(f"{path}: damaged, not a whole .tflite file: {error}: fetch it again") from error
    if len(given) != 4 or given[1:3] != taken[1:3]:
        raise JobError(
            f"{path}: expected a segmenter, whose output is as large as its input {taken}, found an output "
            f"of {given}: leave --model out for this project's own"
        )


def _make_segmenter(options: DetectorOptions) -> Any:
    vision = tasks_api.vision()
    return vision.ImageSegmenter.create_from_options(
        vision.ImageSegmenterOptions(
            base_options=tasks_api.base_options(Path(options.model), options.delegate),
            running_mode=tasks_api.running_mode(static=True),
            # Also for categories: only their number tells a model of one output from one of several.
            output_confidence_masks=True,
            output_category_mask=options.mask == "category",
        )
    )


def _classes(found: Any) -> Image:
    """Class of each pixel, uint8 (H, W): 0 background; 1 person, or the model's own number."""
    categories = _array(found.category_mask)
    if len(found.confidence_masks) > 1:
        return np.asarray(categories, np.uint8)
    return np.asarray(categories == _SINGLE_FOREGROUND, np.uint8)


def _confidences(found: Any) -> Image:
    """Confidence of the foreground in 1/255, uint8 (H, W); of several classes: of not being background."""
    first = _array(found.confidence_masks[0])
    foreground = first if len(found.confidence_masks) == 1 else 1 - first
    return np.asarray(np.rint(np.clip(foreground, 0, 1) * 255), np.uint8)


def _array(image: Any) -> NDArray[Any]:
    """(H, W) on every version; 1.x adds an axis of one channel."""
    view = image.numpy_view()
    return np.asarray(view.reshape(view.shape[:2]))


def _to_png(mask: Image) -> bytes:
    """The mask as a PNG of 8 bits and one channel.

    Runs of equal bytes at level 9 were the best of OpenCV's ways: 924 bytes a frame of 210x260 px in 0.3 ms,
    against 1,380 by default and 795 in 1.8 ms (classes; of confidences 3,901, 4,567 and 3,851).
    """
    import cv2

    settings = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, png = cv2.imencode(".png", mask, settings)
    return bytes(png)
