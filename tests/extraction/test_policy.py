import pytest

from extraction.errors import JobError
from extraction.gl import Meaning
from extraction.policy import PROCESS_LOST, Policy, Step, remedies


def steps(trial, reason: str, delegate: str = "gpu", at_most: int = 30) -> list[Step]:
    """The whole way down one ladder: after the CPU is taken, the loss repeats on the CPU."""
    taken = []
    while len(taken) < at_most:
        taken.append(trial.next_step(reason, delegate))
        if taken[-1] is Step.CPU:
            delegate = "cpu"
        if taken[-1] is Step.GIVE_UP:
            break
    return taken


class TestClip:
    def test_every_meaning_has_a_ladder(self):
        assert set(Policy().remedies) == {*Meaning, PROCESS_LOST}

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            (Meaning.NO_GPU_IN_BUILD, [Step.CPU, Step.GIVE_UP]),
            (Meaning.NO_EGL, [Step.AGAIN, Step.CPU, Step.AGAIN, Step.GIVE_UP]),
            (
                Meaning.CONTEXT,
                [*[Step.AGAIN] * 3, Step.RESTART, Step.CPU, *[Step.AGAIN] * 3, Step.RESTART, Step.GIVE_UP],
            ),
            (Meaning.POISONED, [Step.AGAIN, Step.CPU, Step.AGAIN, Step.GIVE_UP]),
            (Meaning.CALLER, [Step.GIVE_UP]),
            (Meaning.CONFIGURATION, [Step.GIVE_UP]),
            (Meaning.UNKNOWN, [Step.RESTART, Step.CPU, Step.RESTART, Step.GIVE_UP]),
            ("signal", [Step.RESTART, Step.CPU, Step.RESTART, Step.GIVE_UP]),
            ("timeout", [Step.RESTART, Step.CPU, Step.RESTART, Step.GIVE_UP]),
        ],
    )
    def test_goes_down_step_by_step(self, reason, expected):
        assert steps(Policy().for_clip(), reason) == expected

    def test_on_the_cpu_there_is_no_cpu_to_fall_back_to(self):
        assert steps(Policy().for_clip(), "signal", "cpu") == [Step.RESTART, Step.GIVE_UP]

    def test_without_fallback_the_gpu_is_all(self):
        trial = Policy(gl_fallback="fail").for_clip()
        assert steps(trial, Meaning.CONTEXT) == [*[Step.AGAIN] * 3, Step.RESTART, Step.GIVE_UP]

    def test_process_losses_of_different_kinds_share_a_ladder(self):
        trial = Policy().for_clip()
        assert trial.next_step("signal", "cpu") is Step.RESTART
        assert trial.next_step("timeout", "cpu") is Step.GIVE_UP
        assert trial.reasons == ["signal", "timeout"]

    def test_max_attempts_counts_tries_on_one_delegate(self):
        trial = Policy(remedies=remedies(max_attempts=1)).for_clip()
        assert steps(trial, "signal", "cpu") == [Step.GIVE_UP]
        trial = Policy(remedies=remedies(max_attempts=4)).for_clip()
        assert steps(trial, "exit", "cpu") == [*[Step.RESTART] * 3, Step.GIVE_UP]

    def test_no_mixture_goes_on_for_ever(self):
        trial = Policy(remedies=remedies(max_attempts=1000, gl_retries=1000)).for_clip()
        assert len(steps(trial, Meaning.CONTEXT)) == 20


class TestStart:
    def test_a_process_that_dies_gets_as_many_starts_as_the_policy_says(self):
        trial = Policy(remedies=remedies(max_attempts=1), max_starts=3).for_start()
        assert steps(trial, "exit", "cpu") == [Step.RESTART, Step.RESTART, Step.GIVE_UP]

    def test_a_host_without_egl_is_not_tried_longer_for_it(self):
        assert steps(Policy(max_starts=9).for_start(), Meaning.NO_EGL)[:2] == [Step.AGAIN, Step.CPU]


class TestBackoff:
    def test_doubles_with_jitter_and_is_bounded(self):
        trial = Policy().for_clip()
        waits = []
        for _ in range(12):
            trial.next_step(Meaning.CONTEXT, "gpu")
            waits.append(trial.backoff_s(Meaning.CONTEXT))
        for retry, wait in enumerate(waits):
            assert 0.5 * min(0.2 * 2**retry, 10) <= wait <= 1.5 * min(0.2 * 2**retry, 10)
        assert len({trial.backoff_s(Meaning.CONTEXT) for _ in range(5)}) > 1

    def test_a_crash_is_not_waited_for(self):
        trial = Policy().for_clip()
        trial.next_step("signal", "cpu")
        assert trial.backoff_s("signal") == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"gl_fallback": "gpu"}, "--gl-fallback"),
        ({"frame_timeout_s": 0}, "--frame-timeout"),
        ({"start_timeout_s": float("inf")}, "--start-timeout"),
        ({"refresh_clips": -1}, "--refresh-clips"),
        ({"refresh_minutes": float("nan")}, "--refresh-minutes"),
        ({"max_worker_rss_mb": -5}, "--max-worker-rss-mb"),
        ({"idle_s": -1}, "--idle-seconds"),
    ],
)
def test_values_out_of_range_are_named(wrong, named):
    with pytest.raises(JobError, match=named):
        Policy(**wrong)


def test_numbers_of_tries_out_of_range_are_named():
    with pytest.raises(JobError, match="--max-attempts"):
        remedies(max_attempts=0)
    with pytest.raises(JobError, match="--gl-retries"):
        remedies(gl_retries=-1)
