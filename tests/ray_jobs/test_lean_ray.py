import importlib

import pytest

from ray_jobs.lean_ray import without_helper_actors

RESOURCES = {"CPU": 2.0, "memory": 4e9, "object_store_memory": 2e8, "node:127.0.0.1": 1.0}
AUTOSCALER = "ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler"


@pytest.mark.parametrize("asked", [[], [{"CPU": 1}, {"CPU": 1}]])
def test_a_local_job_may_use_all_of_its_machine_whatever_ray_data_asks_for(asked):
    """Else all workers but one stop for want of room for receipts, once Ray Data asks for cores alone."""
    module = importlib.import_module(AUTOSCALER)
    with without_helper_actors(RESOURCES):
        coordinator = module.DefaultAutoscalingCoordinator("requester")
        coordinator.request_resources(
            resources=asked, expire_after_s=180, request_remaining=module.STANDARD_RESOURCE_TYPES
        )
        assert list(coordinator.get_reserved_resources().values()) == [RESOURCES]
        coordinator.cancel_request()
        assert coordinator.get_reserved_resources() == {}
