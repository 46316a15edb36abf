import pickle

import numpy as np
import pytest

from extraction.landmarks import ClipLandmarks, FrameLandmarks, FrameStatus, stack_frames

FRAMES = (
    FrameLandmarks({"face_blendshapes": np.full((52, 1), 0.5, np.float32)}, mask_png=b"a"),
    None,
    FrameLandmarks({}, mask_png=b"b"),
)


def clip(**changes) -> ClipLandmarks:
    parts, visibility = stack_frames(FRAMES, {"pose": 33, "face_blendshapes": 52})
    values = {
        "first_frame": 0,
        "fps": 25.0,
        "timestamps_ms": np.arange(3) * 40.0,
        "frame_names": ("a", "b", "c"),
        "frame_status": np.zeros(3, np.int8),
        "frame_errors": (None,) * 3,
        "frame_sizes_px": np.full((3, 2), 100, np.int32),
        "parts": parts,
        "pose_visibility": visibility,
        "masks_png": tuple(frame and frame.mask_png for frame in FRAMES),
    }
    return ClipLandmarks(**(values | changes))


def test_scores_have_one_value_a_point():
    made = clip()
    assert made.parts["face_blendshapes"].shape == (3, 52, 1)
    assert made.parts["pose"].shape == (3, 33, 3)
    assert made.present("face_blendshapes").tolist() == [True, False, False]
    with pytest.raises(ValueError, match=r"face_blendshapes: expected float32 \(3, 52, 1\), found .*3\)"):
        clip(parts={"face_blendshapes": np.zeros((3, 52, 3), np.float32)})
    with pytest.raises(ValueError, match=r"pose: expected float32 \(3, 33, 3\), found .*1\)"):
        clip(parts={"pose": np.zeros((3, 33, 1), np.float32)})


@pytest.mark.parametrize("masks", [(), (b"a",), (b"a", None, None, b"d")])
def test_as_many_masks_as_frames(masks):
    with pytest.raises(ValueError, match=f"expected 3 masks, found {len(masks)}"):
        clip(masks_png=masks)


@pytest.mark.parametrize("masks", [None, (b"a", None, b"b"), (None, None, None)])
def test_another_process_gets_the_same_checked_and_read_only(masks):
    found = pickle.loads(pickle.dumps(clip(masks_png=masks)))
    assert found.masks_png == masks
    assert not found.parts["face_blendshapes"].flags.writeable
    assert found.parts["face_blendshapes"].tobytes() == clip().parts["face_blendshapes"].tobytes()


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        (FrameLandmarks({}), FrameStatus.NOBODY),
        (FRAMES[0], FrameStatus.OK),
        (FrameLandmarks({}, mask_png=b"a"), FrameStatus.NOBODY),
        (FrameLandmarks({}, mask_png=b"a", mask_has_foreground=True), FrameStatus.OK),
    ],
)
def test_a_part_or_foreground_is_somebody(frame, status):
    assert frame.status == status
