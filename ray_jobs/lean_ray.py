"""A quiet local Ray without what a job on one machine never uses, so that its first frame comes soon.

On two cores everything before the first frame is bound by the CPU. Ray's autoscaler monitor and log
monitor, and the two actors that Ray Data starts for dashboard statistics and for sharing an autoscaling
cluster, take five seconds of it and do nothing for a pool of fixed size on one machine. Ray has no public
switch for them. What is replaced here is put back afterwards; where a later Ray has other names for it,
the job runs all the same and only starts later (`tests/ray_jobs/test_kills.py` would notice).
"""

import functools
import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest.mock import patch

_log = logging.getLogger(__name__)
_COORDINATOR = (
    "ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler.DefaultAutoscalingCoordinator"
)


@contextmanager
def without_monitors(dashboard: bool) -> Iterator[None]:
    """While ``ray.init`` runs in the body, it starts neither autoscaler monitor nor log monitor.

    Args:
        dashboard: Whether there is to be one. Otherwise its agent comes in the form that it has in a Ray
            without the ``default`` extra.
    """
    with ExitStack() as stack:
        with suppress(ImportError, AttributeError):
            full = importlib.import_module("ray._private.parameter").RayParams
            lean = functools.partial(full, no_monitor=True, include_log_monitor=False)
            stack.enter_context(patch("ray._private.parameter.RayParams", lean))
            utils = importlib.import_module("ray._private.utils")
            if not dashboard and hasattr(utils, "get_dashboard_dependency_error"):
                missing = ImportError("left out by this job")
                stack.enter_context(patch.object(utils, "get_dashboard_dependency_error", lambda: missing))
        yield


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """While ray.init or ray.shutdown runs in the body, SIGTERM keeps its handler, and has it afterwards.

    Ray's own end the process with exit code 1 and not a word; here that code says that a job is finished.
    """
    handler = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        with suppress(ImportError, AttributeError):
            utils = importlib.import_module("ray._private.utils")
            stack.enter_context(patch.object(utils, "set_sigterm_handler", lambda _handler: None))
        yield
    if callable(handler) and threading.current_thread() is threading.main_thread():
        # Native code puts its own there, or the default, and Python does not know.
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def without_driver_log() -> Iterator[None]:
    """While ``ray.init`` runs in the body, this process's part of Ray is told to be silent; all others log.

    Ray Data keeps its workers' constructor arguments in the object store, and Ray warns of that on stderr
    for every pool with a line that looks like an error and is of no use to anybody who sees it.
    """
    name = "ray._private.worker.connect"
    with ExitStack() as stack:
        with suppress(ImportError, AttributeError):
            connect = importlib.import_module("ray._private.worker").connect

            def quiet_connect(*args: Any, **kwargs: Any) -> Any:
                # By now Ray's other processes run, with an environment of their own.
                with patch.dict(os.environ, {"RAY_BACKEND_LOG_LEVEL": "fatal"}), _stderr_closed():
                    return connect(*args, **kwargs)

            stack.enter_context(patch(name, quiet_connect))
        yield


@contextmanager
def messages_logged() -> Iterator[None]:
    """In the body, what Ray would print about dead actors and tasks goes to the log of this module.

    Ray makes up for a dead actor by itself, and stopping a job kills actors; on a terminal that reads like
    damage, and in the output of ``--json`` it is damage.
    """

    def log(data: dict[str, Any], **_kwargs: object) -> None:
        for line in data.get("lines", ()):
            _log.info("%s", line)

    with ExitStack() as stack:
        with suppress(ImportError, AttributeError):
            stack.enter_context(patch("ray._private.worker.print_to_stdstream", log))
        yield


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Ray's native code announces even the wish to be silent."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextmanager
def without_helper_actors(cluster_resources: dict[str, float]) -> Iterator[None]:
    """While Ray Data runs in the body, it starts neither statistics actor nor autoscaling coordinator.

    Args:
        cluster_resources: What the one machine has, all of which the job may use.
    """

    def nothing(*_args: object, **_kwargs: object) -> None:
        return None

    def coordinator(*_args: object, **_kwargs: object) -> Any:
        # Ray's own, without an actor. It grants what is asked for, and once Ray Data knows how fast tasks are
        # it asks for cores alone: without any memory for what tasks return, one worker of all goes on.
        fakes = importlib.import_module("ray.data._internal.cluster_autoscaler.fake_autoscaling_coordinator")
        granting = fakes.FakeAutoscalingCoordinator()
        grant = granting.request_resources
        granting.request_resources = lambda **asked: grant(**{**asked, "resources": [cluster_resources]})
        return granting

    statistics = "ray.data._internal.stats._StatsManager"
    replacements: dict[str, Callable[..., Any]] = {
        f"{statistics}.update_execution_metrics": nothing,
        f"{statistics}.update_iteration_metrics": nothing,
        f"{statistics}.register_dataset_to_stats_actor": nothing,
    }
    with suppress(Exception):  # what a later Ray makes of it is not known
        granting = coordinator()
        granting.request_resources(
            resources=[{"CPU": 1}], expire_after_s=180, request_remaining=["CPU", "object_store_memory"]
        )
        if list(granting.get_reserved_resources().values()) == [cluster_resources]:
            replacements[_COORDINATOR] = coordinator
    with ExitStack() as stack:
        for name, replacement in replacements.items():
            with suppress(ImportError, AttributeError):
                stack.enter_context(patch(name, replacement))
        yield
