"""Every worker runs the code of the job, or says so: what Ray Data maps around the worker proper.

Nodes of a cluster were set up at different times, and a worker imports what its node has. Two versions in one
data set would be two data sets in one.
"""

import functools
import hashlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from extraction.errors import JobError
from ray_jobs.config import installed
from storage.running import host_name

if TYPE_CHECKING:
    import pyarrow as pa
    import ray

_PACKAGES = ("extraction", "ray_jobs", "storage")
_REFUSED = "refused: "
"""Begins what takes the place of a receipt, which is JSON and never begins so."""


@functools.cache
def code_version() -> str:
    """Which code this process runs: a digest of all sources, and the version of what finds the landmarks.

    Not the version that is installed: a job may bring its own copy of the sources.
    """
    digest = hashlib.blake2b(digest_size=6)
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for name in _sources(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                digest.update(f"{package}/{name}\0{len(content)}\0".encode())
                digest.update(content)
    return f"sources {digest.hexdigest()}, mediapipe {installed('mediapipe')}"


def _sources(folder: str) -> list[str]:
    found = []
    for parent, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in names]
    return sorted(name for name in found if name.endswith(".py"))


class SameCode:
    """A :class:`ray_jobs.stages.ShardWorker`, where this process runs the code of the job.

    Args:
        code: :func:`code_version` of the job.
        host: Machine that the job runs on.
        arguments: Of the worker, in a list of one. They stay in Ray's store until the codes are compared:
            what other code cannot even read must not fail before that.
    """

    def __init__(self, code: str, host: str, arguments: "list[ray.ObjectRef[dict[str, Any]]]") -> None:
        import ray

        mine = code_version()
        self._refusal = ""
        if mine != code:
            self._refusal = (
                f"node {host_name()} runs other code than the job: {mine} there; {code} here on {host}. Give "
                "all nodes the same version and start Ray on them anew, or send the code along with the job "
                "(landmarks submit --working-dir DIR), then run the same command again"
            )
            return
        from ray_jobs.stages import ShardWorker

        try:
            self._worker = ShardWorker(**ray.get(arguments[0]))
        except JobError as error:
            # Raised here, it would be a death that Ray tells by a trace, and tries again.
            self._refusal = str(error)

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Makes the shards of a batch, or says why not.

        Args:
            batch: Column ``shard``.

        Returns:
            A row per shard: column ``receipt``, for :func:`expect_same_code`.
        """
        if not self._refusal:
            return self._worker(batch)
        import pyarrow as pa

        return pa.table({"receipt": [_REFUSED + self._refusal] * batch.num_rows})


def expect_same_code(receipt: str) -> str:
    """Returns a receipt as it is.

    Raises:
        JobError: If it says why the worker makes nothing.
    """
    if receipt.startswith(_REFUSED):
        raise JobError(receipt.removeprefix(_REFUSED))
    return receipt
