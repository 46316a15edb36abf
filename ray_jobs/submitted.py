"""What is different in a job that was submitted to a cluster's job server."""

import json
import os

from extraction.errors import JobError

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_SUBMISSION = "job_submission_id"
"""Ray's own names, of the variable that its job server gives to the command and of what stands in it."""
_COPIES = "/runtime_resources/working_dir_files/"
"""Part of the path of each copy that Ray makes of a working directory (ray._private.runtime_env)."""


def submission_id() -> str:
    """Id under which this process was submitted; "" where it was not."""
    try:
        config = json.loads(os.environ.get(_JOB_CONFIG, "{}"))
        return str(config.get("metadata", {}).get(_SUBMISSION, ""))
    except (ValueError, AttributeError):
        return ""


def place_of(out: str) -> str:
    """OUT as an absolute path, or the URI that it is.

    Raises:
        JobError: If it would be a place that goes with the job.
    """
    if "://" in out:
        return out
    if submission_id() and not os.path.isabs(out):
        raise JobError(
            f"OUT is {out!r}: a submitted job runs in a copy of the working directory that goes with it: "
            "expected an absolute path that all nodes share, or a URI such as s3://bucket/folder"
        )
    path = os.path.abspath(out)
    if _COPIES in os.path.join(path, ""):
        raise JobError(
            f"OUT is {path!r}: that lies in the copy that Ray made of the working directory, and goes with "
            "the job: expected a path that all nodes share, or a URI such as s3://bucket/folder"
        )
    return path
