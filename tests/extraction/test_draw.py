import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from extraction.draw import COLOURS_RGB, MASK_COLOURS_RGB, OUTLINE_RGB, draw, frame_landmarks, read_classes
from extraction.landmarks import ClipLandmarks, FrameLandmarks, FrameStatus, stack_frames
from extraction.topology import num_points

HEIGHT, WIDTH = 600, 500
NUM_POINTS = num_points(refine_face=False) | {"refined": 478}


def grey(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def only(name: str, rows: dict[int, tuple[float, float]], num: int | None = None) -> np.ndarray:
    """A part of which just these rows are known."""
    points = np.full((num or NUM_POINTS[name], 3), np.nan, np.float32)
    for row, (x, y) in rows.items():
        points[row] = x, y, 0
    return points


def scattered(seed: int) -> FrameLandmarks:
    random = np.random.default_rng(seed)
    parts = {name: random.random((n, 3), np.float32) for name, n in num_points(refine_face=False).items()}
    return FrameLandmarks(parts, random.random(33, np.float32))


def pixel(picture: np.ndarray, x: float, y: float) -> list[int]:
    return picture[int(y * picture.shape[0]), int(x * picture.shape[1])].tolist()


@pytest.mark.parametrize("name", ["pose", "left_hand", "right_hand"])
def test_a_point_has_its_parts_colour_where_it_lies(name):
    picture = draw(grey(), FrameLandmarks({name: only(name, {5: (0.3, 0.7)})}))
    assert pixel(picture, 0.3, 0.7) == list(COLOURS_RGB[name])
    assert pixel(picture, 0.7, 0.3) == [100, 100, 100]


@pytest.mark.parametrize(("name", "edge"), [("pose", (11, 12)), ("left_hand", (5, 6)), ("face", (61, 146))])
def test_an_edge_joins_its_points(name, edge):
    # In the middle of a row of pixels, so that a thin line fills it.
    y = (HEIGHT // 2 + 0.5) / HEIGHT
    picture = draw(grey(), FrameLandmarks({name: only(name, {edge[0]: (0.2, y), edge[1]: (0.8, y)})}))
    assert pixel(picture, 0.5, y) == pytest.approx(COLOURS_RGB[name], abs=20)  # a 1/16 px is not much


def test_the_colours_are_told_apart():
    colours = np.array([*COLOURS_RGB.values(), *MASK_COLOURS_RGB], float)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    assert apart[~np.eye(len(colours), dtype=bool)].min() > 100


def test_a_refined_face_shows_its_irises():
    iris = {469 + k: xy for k, xy in enumerate([(0.6, 0.5), (0.5, 0.4), (0.4, 0.5), (0.5, 0.6)])}
    picture = draw(grey(), FrameLandmarks({"face": only("face", iris, num=478)}))
    assert pixel(picture, 0.55, 0.45)[0] > 200


@pytest.mark.parametrize(("visibility", "opacity"), [(0.0, 0.25), (0.3, 0.5), (0.5, 0.75), (0.8, 1), (1, 1)])
def test_the_less_visible_a_point_the_fainter_it_is(visibility, opacity):
    seen = np.full(33, 0.9, np.float32)
    seen[25] = visibility
    rows = {25: (0.3, 0.5), 30: (0.7, 0.5)}  # no edge joins them
    picture = draw(grey(), FrameLandmarks({"pose": only("pose", rows)}, seen))
    assert pixel(picture, 0.7, 0.5) == list(COLOURS_RGB["pose"])
    expected = 100 + opacity * (np.array(COLOURS_RGB["pose"]) - 100)
    assert pixel(picture, 0.3, 0.5) == pytest.approx(expected, abs=2)


def test_an_edge_is_as_faint_as_the_fainter_of_its_ends():
    seen = np.full(33, 0.9, np.float32)
    seen[12] = 0.1
    y = (HEIGHT // 2 + 0.5) / HEIGHT
    pose = only("pose", {11: (0.2, y), 12: (0.8, y)})
    picture = draw(grey(), FrameLandmarks({"pose": pose}, seen))
    expected = 100 + 0.25 * (np.array(COLOURS_RGB["pose"]) - 100)
    assert pixel(picture, 0.5, y) == pytest.approx(expected, abs=5)
    assert pixel(picture, 0.2, y) == list(COLOURS_RGB["pose"])


def test_a_pose_without_visibility_is_drawn_in_full():
    unknown = np.full(33, np.nan, np.float32)
    picture = draw(grey(), FrameLandmarks({"pose": only("pose", {25: (0.3, 0.5)})}, unknown))
    assert pixel(picture, 0.3, 0.5) == list(COLOURS_RGB["pose"])


def test_the_pose_leaves_the_hand_to_the_hand_where_that_was_found():
    pose = only("pose", {19: (0.3, 0.3), 20: (0.7, 0.3)})  # left and right index finger
    picture = draw(grey(), FrameLandmarks({"pose": pose, "left_hand": only("left_hand", {0: (0.5, 0.8)})}))
    assert pixel(picture, 0.3, 0.3) == [100, 100, 100]
    assert pixel(picture, 0.7, 0.3) == list(COLOURS_RGB["pose"])
    unfound = FrameLandmarks({"pose": pose, "left_hand": only("left_hand", {})})
    assert pixel(draw(grey(), unfound), 0.3, 0.3) == list(COLOURS_RGB["pose"])


def test_world_landmarks_and_unknown_parts_are_not_drawn():
    parts = {"pose_world": only("pose_world", {0: (0.5, 0.5)}), "tail": np.full((3, 3), 0.5, np.float32)}
    assert np.array_equal(draw(grey(), FrameLandmarks(parts)), grey())


@pytest.mark.parametrize("size", [(260, 210), (600, 500)])
def test_the_inputs_stay_as_they_were(size):
    frame, landmarks = grey(*size), scattered(0)
    before = {name: points.copy() for name, points in landmarks.parts.items()}
    frame.setflags(write=False)
    picture = draw(frame, landmarks, caption="a caption")
    assert (frame == 100).all()
    assert all(np.array_equal(landmarks.parts[name], before[name]) for name in before)
    assert not np.shares_memory(picture, frame)
    assert np.array_equal(picture, draw(frame, landmarks, caption="a caption"))


@pytest.mark.parametrize(
    ("size", "min_side_px", "factor"),
    [
        ((260, 210), 480, 3),
        ((480, 480), 480, 1),
        ((600, 500), 480, 1),
        ((260, 210), 1, 1),
        ((260, 210), 0, 1),
        ((1, 1), 480, 480),
        ((1, 1000), 480, 1),
    ],
)
def test_small_frames_are_enlarged_by_a_whole_number(size, min_side_px, factor):
    picture = draw(grey(*size), scattered(1), min_side_px=min_side_px)
    assert picture.shape == (size[0] * factor, size[1] * factor, 3)
    assert picture.dtype == np.uint8


def test_an_enlarged_point_stays_on_what_it_points_at():
    frame = grey(260, 210)
    frame[100, 50] = 255  # its centre is at (50.5, 100.5) px
    picture = draw(frame, FrameLandmarks({}))
    bright = np.argwhere(picture[:, :, 0] > 200).mean(axis=0)
    marked = draw(grey(260, 210), FrameLandmarks({"pose": only("pose", {25: (50.5 / 210, 100.5 / 260)})}))
    green = np.argwhere((marked == COLOURS_RGB["pose"]).all(axis=2)).mean(axis=0)
    assert np.abs(bright - green).max() < 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 5e5, -3.0, 1.0, 0.0])
def test_no_coordinate_crashes_it(value):
    landmarks = scattered(2)
    for points in landmarks.parts.values():
        points[::3, 0] = value
        points[1::3, 1] = value
    assert not np.array_equal(draw(grey(), landmarks), grey())


def test_all_nan_draws_nothing():
    parts = {name: only(name, {}) for name in ("pose", "left_hand", "right_hand", "face")}
    assert np.array_equal(draw(grey(), FrameLandmarks(parts, np.full(33, np.nan, np.float32))), grey())


def test_a_view_of_another_array_can_be_drawn_on():
    frame = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    mirrored = frame[:, ::-1]
    assert np.array_equal(draw(mirrored, FrameLandmarks({})), mirrored)


def test_a_caption_stays_in_its_corner():
    changed = np.argwhere((draw(grey(), FrameLandmarks({}), caption="für 0001") != grey()).any(axis=2))
    assert len(changed) > 50
    assert changed[:, 0].min() > 0.9 * HEIGHT
    assert changed[:, 1].max() < 0.5 * WIDTH


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
    ],
    ids=["grey", "rgba", "float", "empty"],
)
def test_what_is_no_rgb_frame_is_refused(frame):
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        draw(frame, FrameLandmarks({}))


@pytest.mark.parametrize(("name", "num"), [("pose", 21), ("face", 467), ("left_hand", 478)])
def test_a_part_of_the_wrong_length_is_refused(name, num):
    with pytest.raises(ValueError, match=rf"{name}: expected .*found \({num}, 3\)"):
        draw(grey(), FrameLandmarks({name: np.zeros((num, 3), np.float32)}))


def clip_of(frames: list[FrameLandmarks | None]) -> ClipLandmarks:
    parts, visibility = stack_frames(frames, num_points(refine_face=False))
    status = [
        FrameStatus.UNREADABLE if frame is None else FrameStatus.OK if frame.parts else FrameStatus.NOBODY
        for frame in frames
    ]
    return ClipLandmarks(
        first_frame=0,
        fps=25.0,
        timestamps_ms=np.arange(len(frames)) * 40.0,
        frame_names=tuple(f"{position}.png" for position in range(len(frames))),
        frame_status=np.array(status, np.int8),
        frame_errors=tuple("broken" if frame is None else None for frame in frames),
        frame_sizes_px=np.full((len(frames), 2), 100, np.int32),
        parts=parts,
        pose_visibility=visibility,
    )


def test_a_frame_comes_out_of_a_clip_as_it_went_in():
    full = scattered(3)
    hand = FrameLandmarks({"left_hand": full.parts["left_hand"]})
    frames = [full, None, FrameLandmarks({}), hand]
    clip = clip_of(frames)
    for position, frame in enumerate(frames):
        found, expected = frame_landmarks(clip, position), frame or FrameLandmarks({})
        assert set(found.parts) == set(expected.parts)
        for name, points in expected.parts.items():
            assert np.array_equal(found.parts[name], points)
        assert (found.pose_visibility is None) == (expected.pose_visibility is None)
        if expected.pose_visibility is not None:
            assert np.array_equal(found.pose_visibility, expected.pose_visibility)


@pytest.mark.parametrize("position", [-1, 2])
def test_a_position_outside_the_clip_is_refused(position):
    with pytest.raises(IndexError, match=f"from 0 to 1, found {position}"):
        frame_landmarks(clip_of([None, None]), position)


def test_real_landmarks_lie_where_the_hand_is(phoenix_root, phoenix_expected):
    # 543 rows: pose 33, face 468, left hand 21, right hand 21.
    hands = np.load(phoenix_expected / "bsl_demo.npz")["tracking"][:, 501:522]
    position = int(np.flatnonzero(~np.isnan(hands).all(axis=(1, 2)))[0])
    path = sorted((phoenix_root / "train/bsl_demo").iterdir())[position]
    frame = np.asarray(Image.open(path).convert("RGB"))
    picture = draw(frame, FrameLandmarks({"left_hand": hands[position]}))
    orange = np.argwhere((picture == COLOURS_RGB["left_hand"]).all(axis=2)) / picture.shape[:2]
    assert len(orange) > 100
    assert orange.min(axis=0) == pytest.approx(hands[position, :, 1::-1].min(axis=0), abs=0.01)
    assert orange.max(axis=0) == pytest.approx(hands[position, :, 1::-1].max(axis=0), abs=0.01)


NOTHING = FrameLandmarks({})


def box(index: int = 1, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A class in the middle quarter of the picture."""
    classes = np.zeros((height, width), np.uint8)
    classes[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = index
    return classes


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


class TestMasks:
    def test_inside_is_tinted_outside_is_the_frame_and_the_outline_shows(self):
        picture = draw(grey(), NOTHING, classes=box())
        tint = np.array(pixel(picture, 0.5, 0.5)) - 100
        full = np.array(MASK_COLOURS_RGB[0]) - 100
        assert (np.sign(tint) == np.sign(full)).all()
        assert (np.abs(tint) < np.abs(full) / 2).all()
        assert pixel(picture, 0.1, 0.1) == [100, 100, 100]
        on_outline = picture[HEIGHT // 2, WIDTH // 4 - 5 : WIDTH // 4 + 5].tolist()
        assert list(MASK_COLOURS_RGB[0]) in on_outline
        assert min(map(sum, on_outline)) < (sum(OUTLINE_RGB) + 300) / 1.5  # its rim, thin and smooth

    def test_each_class_has_a_colour_and_they_begin_anew_at_the_end(self):
        middle = [pixel(draw(grey(), NOTHING, classes=box(index)), 0.5, 0.5) for index in range(1, 8)]
        assert len(set(map(tuple, middle[:6]))) == 6
        assert middle[6] == middle[0]
        both = np.maximum(box(1), np.roll(box(2), WIDTH // 2, axis=1))
        picture = draw(grey(), NOTHING, classes=both)
        assert pixel(picture, 0.5, 0.5) == middle[0]
        assert pixel(picture, 0.9, 0.5) == middle[1]

    def test_landmarks_lie_above_the_mask(self):
        hand = FrameLandmarks({"left_hand": only("left_hand", {0: (0.5, 0.5)})})
        picture = draw(grey(), hand, classes=box())
        assert pixel(picture, 0.5, 0.5) == list(COLOURS_RGB["left_hand"])

    def test_a_small_frame_and_its_mask_are_enlarged_together(self):
        frame = grey(60, 50)
        frame[box(1, 60, 50) == 1] = 200
        picture = draw(frame, NOTHING, classes=box(1, 60, 50))
        assert picture.shape == (600, 500, 3)
        bright = np.argwhere(draw(frame, NOTHING)[:, :, 1] > 150).mean(axis=0)
        tinted = np.argwhere((picture != draw(frame, NOTHING)).any(axis=2)).mean(axis=0)
        assert np.abs(bright - tinted).max() < 2

    def test_background_alone_and_the_inputs_stay_as_they_were(self):
        classes = box(0)
        assert np.array_equal(draw(grey(), NOTHING, classes=classes), grey())
        frame, classes = grey(), box()
        for array in (frame, classes):
            array.setflags(write=False)
        assert np.array_equal(draw(frame, NOTHING, classes=classes), draw(frame, NOTHING, classes=classes))

    @pytest.mark.parametrize("classes", [box(1, 9, 9), box().astype(bool), box()[:, :, None]])
    def test_a_mask_of_another_frame_is_refused(self, classes):
        with pytest.raises(ValueError, match=rf"uint8 \({HEIGHT}, {WIDTH}\) classes, found "):
            draw(grey(), NOTHING, classes=classes)

    def test_what_masks_hold(self):
        values = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert np.array_equal(read_classes(png(values), "category"), values)
        assert np.array_equal(read_classes(png(values), "confidence"), (values >= 128).astype(np.uint8))

    @pytest.mark.parametrize(
        ("data", "found"),
        [
            (b"", "no picture"),
            (b"nonsense", "no picture"),
            (png(grey(9, 9)), r"uint8 \(9, 9, 3\)"),
            (png(np.zeros((9, 9), np.uint16)), "uint16"),
        ],
        ids=["empty", "nonsense", "rgb", "16 bits"],
    )
    def test_what_is_no_mask_is_refused(self, data, found):
        with pytest.raises(ValueError, match=f"8 bits and one channel, found {found}"):
            read_classes(data, "category")

    def test_a_mask_comes_out_of_a_clip_as_it_went_in(self):
        clip = dataclasses.replace(
            clip_of([NOTHING, None, NOTHING]),
            frame_status=np.array([FrameStatus.OK, FrameStatus.UNREADABLE, FrameStatus.NOBODY], np.int8),
            masks_png=(b"a", None, b"b"),
        )
        found = [frame_landmarks(clip, position) for position in range(3)]
        assert [frame.mask_png for frame in found] == [b"a", None, b"b"]
        assert [frame.mask_has_foreground for frame in found] == [True, False, False]
