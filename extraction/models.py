"""MediaPipe's official models: which there are, where they lie on this machine, and how one is fetched.

Nothing is fetched unasked: only :func:`fetch_model` opens a connection.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from extraction.errors import JobError

BASE_URL = "https://storage.googleapis.com/mediapipe-models/"
"""The public bucket of the models."""

LICENCE = "Apache-2.0"
"""Of every model here; the model cards say so, and a maintainer in google-ai-edge/mediapipe-samples#407."""

_READ_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """One file of the bucket, of a fixed version.

    Attributes:
        path: Under the bucket.
        sha256: Of the file.
        use: What it is for.
        model_cards: Where its makers describe the models in it and name their licence.
        sources: From how many sources, independent of one another, the digest is known.
    """

    path: str
    sha256: str
    use: str
    model_cards: tuple[str, ...]
    sources: int = 1

    @property
    def name(self) -> str:
        """What it is called here: the file's name without its ending."""
        return self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def file_name(self) -> str:
        """The file's name."""
        return self.path.rsplit("/", 1)[-1]


_HANDS_CARD = "https://mediapipe.page.link/handmc"
_POSE_CARD = "https://mediapipe.page.link/blazepose-mc"
_FACE_CARD = "https://mediapipe.page.link/attentionmesh-mc"

# Model cards: docs/solutions/models.md of the MediaPipe repository. Digests: the first was published by two
# parties, each of the others by one; none by the makers.
_MODELS = (
    Model(
        "holistic_landmarker/holistic_landmarker/float16/1/holistic_landmarker.task",
        "e2dab61191e2dcd0a15f943d8e3ed1dce13c82dfa597b9dd39f562975a50c3f8",
        "engine tasks; its pose model is the lite one",
        (_POSE_CARD, _HANDS_CARD, _FACE_CARD),
        sources=2,
    ),
    Model(
        "hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
        "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
        "engine hands+pose+face",
        (_HANDS_CARD,),
    ),
    Model(
        "face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        "engine hands+pose+face",
        (_FACE_CARD,),
    ),
    Model(
        "pose_landmarker/pose_landmarker_lite/float16/1/pose_landmarker_lite.task",
        "59929e1d1ee95287735ddd833b19cf4ac46d29bc7afddbbf6753c459690d574a",
        "engine hands+pose+face with --model-complexity 0",
        (_POSE_CARD,),
    ),
    Model(
        "pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
        "5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
        "engine hands+pose+face with --model-complexity 1, the default",
        (_POSE_CARD,),
    ),
    Model(
        "pose_landmarker/pose_landmarker_heavy/float16/1/pose_landmarker_heavy.task",
        "64437af838a65d18e5ba7a0d39b465540069bc8aae8308de3e318aad31fcbc7b",
        "engine hands+pose+face with --model-complexity 2",
        (_POSE_CARD,),
    ),
    Model(
        "image_segmenter/selfie_segmenter/float16/1/selfie_segmenter.tflite",
        "191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b",
        "engine segmenter",
        ("https://mediapipe.page.link/selfiesegmentation-mc",),
    ),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _MODELS})
"""Every model by name."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is on this machine now, whole.

    Attributes:
        model: Which one.
        file: Where it lies.
        downloaded: False where it was there already.
        replaced_sha256: Digest of the damaged file that lay in its place; None where none did.
    """

    model: Model
    file: Path
    downloaded: bool
    replaced_sha256: str | None = None


def model_named(name: str) -> Model:
    """The model of a name.

    Raises:
        JobError: If there is none.
    """
    if name not in MODELS:
        raise JobError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}")
    return MODELS[name]


def cache_folder() -> Path:
    """Where models lie: LANDMARKS_MODELS, or a folder of the user's cache. It need not exist."""
    if folder := os.environ.get("LANDMARKS_MODELS"):
        return Path(folder).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("ray-landmarks") / "models"


def source_url(model: Model, base_url: str | None = None) -> str:
    """The address of a model.

    Args:
        model: Which one.
        base_url: Of a mirror of the bucket; None for LANDMARKS_MODELS_URL, or else the bucket itself.
    """
    base = base_url or os.environ.get("LANDMARKS_MODELS_URL") or BASE_URL
    return f"{base.rstrip('/')}/{model.path}"


def find_model(name: str) -> Path | None:
    """Where a model lies on this machine; None where it is missing, or not the file it should be.

    Raises:
        JobError: If there is no model of this name.
    """
    model = model_named(name)
    file = cache_folder() / model.file_name
    return file if file.is_file() and digest(file) == model.sha256 else None


def how_to_get(name: str) -> str:
    """What to do where a model is missing, as the end of a sentence."""
    model = model_named(name)
    return (
        f"run `landmarks models fetch {name}`, or put {source_url(model)} "
        f"(SHA-256 {model.sha256}) at {cache_folder() / model.file_name}"
    )


def digest(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hex; read once for each path, size and time of modification.

    Raises:
        JobError: If it cannot be read.
    """
    try:
        status = os.stat(file)
        key = (os.path.abspath(file), status.st_size, status.st_mtime_ns)
        if key not in _digests:
            with open(file, "rb") as stream:
                _digests[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise JobError(f"{os.fspath(file)}: the model cannot be read: {error}") from error
    return _digests[key]


_digests: dict[tuple[str, int, int], str] = {}


def fetch_model(
    name: str,
    base_url: str | None = None,
    to: str | os.PathLike[str] | None = None,
    read_timeout_s: float = _READ_TIMEOUT_S,
) -> Fetched:
    """Makes sure that a model lies on this machine; the file has its name only once its digest is right.

    Args:
        name: Of the model.
        base_url: As in :func:`source_url`.
        to: Where it is to lie; None for the cache.
        read_timeout_s: Longest wait for the connection and for each piece of data.

    Raises:
        JobError: If it cannot be had, or what came is something else. Nothing is left behind then.
    """
    model = model_named(name)
    file = Path(to).absolute() if to is not None else cache_folder() / model.file_name
    damaged = None
    if file.exists():
        damaged = digest(file)
        if damaged == model.sha256:
            return Fetched(model, file, downloaded=False)
        if to is not None:
            raise JobError(
                f"{file} is there already and is not {name} (SHA-256 {damaged}, expected {model.sha256}): "
                "choose another --to, or remove it first"
            )
    try:
        _download(model, source_url(model, base_url), file, read_timeout_s)
    except JobError as error:
        raise JobError(
            f"{file} is damaged (SHA-256 {damaged}); {error}" if damaged else str(error)
        ) from error
    return Fetched(model, file, downloaded=True, replaced_sha256=damaged)


def _download(model: Model, url: str, file: Path, read_timeout_s: float) -> None:
    import pooch  # here: the other commands do without it

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(timeout=read_timeout_s, chunk_size=_CHUNK_BYTES)
    try:
        # Into a temporary file beside the target, which gets its name only once its digest is right.
        pooch.retrieve(url, f"sha256:{model.sha256}", file.name, file.parent, downloader=downloader)
        # Temporary files are for their owner only; a folder of models may serve a whole cluster.
        file.chmod(0o644)
    except OSError as error:  # of the disk, or of the network: requests' errors are OSErrors too
        raise JobError(
            f"model {model.name} could not be fetched: {error}. Get {url} in another way, "
            f"and put it at {file}; its SHA-256 must be {model.sha256}"
        ) from error
    except ValueError as error:
        sums = re.findall(r"\b[0-9a-f]{64}\b", str(error))
        found = next((found for found in sums if found != model.sha256), str(error))
        raise JobError(
            f"what {url} gave is not {model.name}: expected SHA-256 {model.sha256}, found {found}. It was "
            "not kept. The file was damaged on its way, or there is a newer one in its place, which you can "
            "get yourself and use with --model"
        ) from error
