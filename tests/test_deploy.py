"""The files for clusters are what Ray and KubeRay take, and say what the rest of the house says."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from ray_jobs.metrics import COUNTERS

REPO = Path(__file__).resolve().parents[1]
DEPLOY = REPO / "deploy"
RAY = re.search(r"^ray==([\d.]+)", (REPO / "requirements.lock").read_text(), re.MULTILINE)[1]


@pytest.fixture
def cluster() -> dict:
    return yaml.safe_load((REPO / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def rayjob() -> dict:
    account, job = yaml.safe_load_all((DEPLOY / "kuberay-rayjob.yaml").read_text())
    assert (account["kind"], job["kind"], job["apiVersion"]) == ("ServiceAccount", "RayJob", "ray.io/v1")
    return job


def prepared(config: dict) -> dict:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = util.prepare_config(copy.deepcopy(config))
    util.validate_config(config)
    return config


def test_cluster_yaml_is_what_ray_takes(cluster):
    whole = prepared(cluster)
    assert whole["available_node_types"]["head"]["max_workers"] == 0
    assert whole["worker_setup_commands"] == cluster["setup_commands"] == whole["head_setup_commands"]
    # Set-up commands of a kind of node would take the place of these.
    assert not any("worker_setup_commands" in kind for kind in cluster["available_node_types"].values())
    with pytest.raises(Exception, match="nonsense"):
        prepared({**cluster, "nonsense": 1})


def test_cluster_yaml_holds_machines_only(cluster):
    text = (REPO / "cluster.yaml").read_text()
    commands = "\n".join(
        line
        for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
        for line in cluster[key]
    )
    assert "extract" not in commands
    assert "landmarks submit" not in commands
    assert not re.search(r"AKIA|aws_secret|aws_access", text)


def test_the_head_does_no_work_and_workers_come_when_asked_for(cluster):
    kinds = cluster["available_node_types"]
    assert kinds[cluster["head_node_type"]]["resources"]["CPU"] == 0
    assert [kind.get("min_workers", 0) for kind in kinds.values()] == [0, 0, 0]


def test_nothing_is_open_and_the_token_is_on(cluster):
    (rule,) = cluster["provider"]["security_group"]["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
    assert all(range_["CidrIp"].endswith("/32") for range_ in rule["IpRanges"])
    assert any("RAY_AUTH_MODE=token" in command for command in cluster["setup_commands"])
    assert "~/.ray/auth_token" in cluster["file_mounts"]
    assert "--dashboard-host=127.0.0.1" in " ".join(cluster["head_start_ray_commands"])


def test_set_up_commands_name_what_is_here(cluster):
    commands = " ".join(cluster["setup_commands"])
    assert "make -C ~/ray-landmarks .venv/.ready" in commands
    assert cluster["file_mounts"]["~/ray-landmarks"] == "."
    named = re.findall(r"~/ray-landmarks/(deploy/\S+)", commands)
    assert named == ["deploy/10_nvidia.json"]
    assert (REPO / named[0]).is_file()


def test_egl_vendor_file():
    vendor = json.loads((DEPLOY / "10_nvidia.json").read_text())
    assert vendor["ICD"]["library_path"] == "libEGL_nvidia.so.0"


def test_dockerfile_copies_what_is_here():
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    sources = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert sources
    assert [name for name in sources if not (REPO / name).exists()] == []
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert stages == [("debian:bookworm-slim", "cpu"), ("cpu", "gpu")]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics" in text
    assert " wget" in text  # KubeRay's probes


# Of ray.io/v1, KubeRay 1.6.2; the whole of it was held against the CRD's own schema once (docs/cluster.md).
SPEC = {
    "entrypoint",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "submitterPodTemplate",
    "rayClusterSpec",
}
CLUSTER = {
    "rayVersion",
    "authOptions",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "headGroupSpec",
    "workerGroupSpecs",
}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def test_rayjob_has_the_fields_of_kuberay(rayjob):
    spec = rayjob["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec.keys() == SPEC
    assert cluster.keys() == CLUSTER
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    assert all(group.keys() == GROUP for group in cluster["workerGroupSpecs"])
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_rayjob_is_safe_and_of_the_version_that_is_installed(rayjob):
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert all(group["minReplicas"] == 0 for group in cluster["workerGroupSpecs"])


def test_rayjob_runs_a_command_that_parses(rayjob):
    import shlex

    from ray_jobs.submit import entrypoint_of

    entrypoint = rayjob["spec"]["entrypoint"]
    assert entrypoint_of(shlex.split(entrypoint)[3:]) == entrypoint


def test_dashboard_and_workers_speak_of_the_same_names():
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = set(re.findall(r"ray_(\w+?)_total\b", " ".join(queries)))
    assert asked == set(COUNTERS)
    tags = set(re.findall(r"by \((\w+)\)", " ".join(queries)))
    assert tags == {"host", *(tag for tag, _ in COUNTERS.values() if tag)}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
