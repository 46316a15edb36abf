import numpy as np
import pytest

from extraction.detectors import DetectorOptions, create_detector, resolve_engine
from extraction.detectors.holistic import resolve, to_array
from extraction.errors import JobError

pytest.importorskip("mediapipe.python.solutions", reason="needs the legacy line of mediapipe (Python < 3.13)")

from mediapipe.framework.formats import landmark_pb2


class TestToArray:
    def landmarks(self, **values: list[float]):
        found = landmark_pb2.NormalizedLandmarkList()
        for row in zip(*values.values(), strict=True):
            found.landmark.add(**dict(zip(values, row, strict=True)))
        return found

    @pytest.mark.parametrize("extra", [{}, {"visibility": [0.5, 1.0, 0.0]}])
    def test_serialised_form_gives_the_same_bits_as_the_fields(self, extra):
        found = self.landmarks(x=[0.1, -0.0, 1e-40], y=[0.0, 2.5, -3.0], z=[1.0, 0.3, np.pi], **extra)
        expected = np.array([(p.x, p.y, p.z) for p in found.landmark], np.float32)
        assert to_array(found).dtype == np.float32
        np.testing.assert_array_equal(to_array(found).view(np.uint32), expected.view(np.uint32))

    def test_irregular_forms_are_read_field_by_field(self):
        # Presence makes a landmark 27 bytes; a missing z makes it shorter than the others.
        found = self.landmarks(x=[1.0], y=[2.0], z=[3.0], visibility=[0.1], presence=[0.2])
        assert to_array(found).tolist() == [[1, 2, 3]]
        uneven = self.landmarks(x=[1.0, 4.0], y=[2.0, 5.0], z=[3.0, 6.0])
        uneven.landmark[0].ClearField("z")
        assert to_array(uneven).tolist() == [[1, 2, 0], [4, 5, 6]]
        # As long as the regular form, with another field in it.
        other = self.landmarks(x=[1.0], y=[2.0], visibility=[3.0])
        assert to_array(other).tolist() == [[1, 2, 0]]

    def test_no_landmark(self):
        assert to_array(landmark_pb2.NormalizedLandmarkList()).shape in {(0,), (0, 3)}


class TestCheck:
    def test_the_line_without_legacy_solutions_is_named(self, monkeypatch, tmp_path):
        (tmp_path / "mediapipe").mkdir()
        (tmp_path / "mediapipe" / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(__import__("sys").modules, "mediapipe", raising=False)
        with pytest.raises(JobError, match=r"found mediapipe 1\.2\.2.*Python 3\.11 or 3\.12"):
            resolve(DetectorOptions(), "1.2.2")

    def test_no_mediapipe(self):
        with pytest.raises(JobError, match="found none"):
            resolve(DetectorOptions(), None)

    @pytest.mark.parametrize("engine", ["nothing:make", "json:nothing"])
    def test_an_engine_of_ones_own_that_is_not_there(self, engine):
        with pytest.raises(JobError, match="cannot be imported"):
            resolve_engine(DetectorOptions(engine=engine))


def test_refined_face_has_478_points(portrait_frame):
    detector = create_detector(DetectorOptions(refine_face=True))
    detector.begin_clip("a")
    found = detector.detect(portrait_frame, 0)
    assert found.parts["face"].shape == (478, 3)
    assert detector.info.num_points["face"] == 478
    assert found.pose_visibility.shape == (33,)
    detector.close()
    detector.close()  # no harm


def test_a_poisoned_graph_is_closed_twice_without_raising(portrait_frame):
    detector = create_detector(DetectorOptions())
    detector.begin_clip("a")
    detector.detect(portrait_frame, 0)
    detector._graph._simulated_timestamp -= 33333  # the same time again
    with pytest.raises((RuntimeError, ValueError)):
        detector.detect(portrait_frame, 0)
    with pytest.raises((RuntimeError, ValueError)):
        detector._graph._graph.close()
    detector.close()


@pytest.fixture(scope="module")
def portrait_frame(tmp_path_factory):
    from extraction.clips import Clip
    from extraction.frames import FrameOptions, open_frames
    from ray_jobs.demo_clips import make_demo_clips

    folder = tmp_path_factory.mktemp("frames")
    make_demo_clips(str(folder), num_frames=1)
    return next(open_frames(Clip("pan", f"{folder}/dev/pan", "frames"), FrameOptions()).frames).image
