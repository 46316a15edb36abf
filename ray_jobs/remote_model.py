"""A model that is named by a URI: fetched to each machine once, and used from there."""

import fcntl
import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from pyarrow import fs

from extraction import models
from extraction.clips import from_uri
from extraction.detectors import DetectorOptions, resolve_engine
from extraction.errors import JobError
from ray_jobs.config import JobConfig
from storage.s3 import expect_place
from storage.stores import ScratchError, Stores, fetch, is_remote, location_of, mtime_ns


def with_model_here(config: JobConfig) -> JobConfig:
    """A job's configuration with its engine resolved and its model on the driver's machine.

    Raises:
        JobError: If there is no such engine here, or the model cannot be had.
    """
    model = config.detector.model
    uri = model if "://" in model else ""
    if is_remote(uri):
        expect_place(uri)
        store, name = Stores(uri).of(location_of(uri))
        store.expect_reachable(name)  # a person waits; workers are as patient as ever
    detector = resolve_engine(with_local_model(config.detector, uri))
    return replace(config, detector=detector, model_uri=uri)


def with_local_model(detector: DetectorOptions, uri: str) -> DetectorOptions:
    """The same detector with its model on this machine.

    Args:
        detector: Where the model's digest is known already, whoever makes the detector holds it.
        uri: Of the model; "" where it is no remote one.

    Raises:
        JobError: If it cannot be had.
    """
    return replace(detector, model=local_model(uri)) if uri else detector


def local_model(uri: str) -> str:
    """Fetches a model, or a folder of models, unless what lies there now was fetched to this machine before.

    Args:
        uri: Of it.

    Returns:
        The path of the copy, in the cache of models.

    Raises:
        JobError: If it cannot be had.
    """
    if not is_remote(uri):
        return from_uri(uri)
    location = location_of(uri)
    store, name = Stores(uri).of(location)
    info = store.info(name)
    if info.type == fs.FileType.NotFound:
        raise JobError(f"--model {location}: there is no such file or folder")
    is_folder = info.type == fs.FileType.Directory
    below = store.infos(name) if is_folder else [("", info)]
    files = {path: found for path, found in below if found.type == fs.FileType.File}
    text = "".join(f"{path}/{found.size}/{mtime_ns(found)}/" for path, found in sorted(files.items()))
    key = hashlib.blake2b(f"{location}//{text}".encode(), digest_size=16).hexdigest()
    folder = models.cache_folder() / "by-uri" / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{folder}.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one of this machine's workers fetches, the others wait
            if files and not folder.is_dir():
                with tempfile.TemporaryDirectory(prefix=f"{key}.", dir=folder.parent) as begun:
                    for path, found in files.items():
                        target = Path(begun, "model", path or os.path.basename(location))
                        target.parent.mkdir(exist_ok=True)
                        if fetch(store, f"{name}/{path}".rstrip("/"), str(target)) != found.size:
                            raise JobError(f"--model {location}: it changed while it was fetched: try again")
                    os.rename(os.path.join(begun, "model"), folder)
    except (OSError, ScratchError) as error:
        raise JobError(
            f"--model {location}: cannot be put at {folder}: {error}: LANDMARKS_MODELS names another place"
        ) from error
    return str(folder if is_folder else folder / os.path.basename(location))
