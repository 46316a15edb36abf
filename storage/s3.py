"""Opening object stores: S3 so that its errors and pauses are ours to handle, others by pyarrow or fsspec."""

import importlib
import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from extraction.errors import JobError

_OF_BUCKETS = ("s3", "gs", "gcs")
"""Schemes whose URIs begin with a bucket, in whose name no colon may stand."""
SMALL_BYTES = 4 << 20
"""Up to here one request takes a file; above, three and more. Arrow itself cuts from 10 MB on."""
_CONNECT_TIMEOUT_S = 10.0
_SILENCE_TIMEOUT_S = 20.0
"""Arrow's own is 3 s without a byte, in which a busy server may not have begun to answer."""
_SCAN_TRIES = 8
"""Of readers that we cannot begin anew: up to 45 s, measured against a server that only says SlowDown."""

_TEXTS = ("scheme", "endpoint_override", "tls_ca_file_path")
_FLAGS = ("allow_bucket_creation", "allow_bucket_deletion")
_IGNORED = ("region", "allow_delayed_open")

Opened = tuple[fs.FileSystem, fs.FileSystem, fs.FileSystem, str]
"""For long scans, which tries again by itself; for one request at a time; for small files; the path there."""


def expect_place(uri: str) -> None:
    """Refuses a URI that does not say where, without showing it: it may hold a secret where none belongs.

    A secret key with a slash ends what a URI takes for the bucket: of ``s3://KEY:sec/ret@bucket/x`` this is
    ``KEY:sec``, which would be shown.

    Raises:
        JobError: If it is none, names no bucket, or has a colon in the bucket's name.
    """
    scheme = uri.partition("://")[0]
    try:
        host = urlsplit(uri).netloc.rpartition("@")[2]
    except ValueError as error:
        raise JobError(f"{scheme}://...: not a location that can be opened: {error}") from error
    if scheme.lower() not in _OF_BUCKETS:
        return
    if not host:
        raise JobError(
            f"{scheme}:///...: expected the name of a bucket behind {scheme}://, as in {scheme}://bucket/folder"
        )
    if ":" in host:
        raise JobError(
            f"{scheme}://...: expected the name of a bucket, found one with a colon. In a user's secret, "
            "write %2F for / and %40 for @; better, leave credentials to the environment (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE) or the machine's role"
        )


def without_secrets(location: str) -> str:
    """A URI as messages may show it: without the query and the user, where an access key may stand."""
    scheme, _, rest = location.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def said_of(location: str, error: Exception) -> str:
    """What was said of a URI, which may be quoted there whole or in part."""
    text = str(error).replace(location, without_secrets(location))
    parts = urlsplit(location)
    user = parts.netloc.rpartition("@")[0]
    for hidden in (parts.query, user, *user.split(":", 1)):
        for form in (hidden, unquote(hidden)):
            text = text.replace(form, "...") if form else text
    return text


def open_uri(location: str) -> Opened:
    """Opens the place that a URI names.

    Left to itself, Arrow asks S3 again 30 times, every 200 ms, without backoff, and waits for its timeouts in
    between: a server that accepts and never answers held a PUT for 288 s, a GET or a listing for 99 s.

    Args:
        location: A URI with a scheme that pyarrow knows, or an fsspec that is installed.

    Raises:
        OSError: If the region of a bucket cannot be found out.
        ArrowInvalid: If it is no such URI.
    """
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
        filesystem, root = _by_fsspec(location)
    if filesystem.type_name != "s3":
        return filesystem, filesystem, filesystem, root
    options = _options(location, filesystem.region)
    if options is None:
        return filesystem, filesystem, filesystem, root
    once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
    return (
        fs.S3FileSystem(**options, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_SCAN_TRIES)),
        # Delayed, the upload of a large file that is refused at its beginning ends, when its stream is
        # closed, with an empty object under its name (seen with Arrow 25).
        fs.S3FileSystem(**options, retry_strategy=once, allow_delayed_open=False),
        fs.S3FileSystem(**options, retry_strategy=once, allow_delayed_open=True),
        root,
    )


def _options(location: str, region: str) -> dict[str, Any] | None:
    """What a URI says, as arguments of S3FileSystem; None where they cannot say it."""
    parts = urlsplit(location)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if query.keys() - {*_TEXTS, *_FLAGS, *_IGNORED}:
        return None
    options: dict[str, Any] = {name: query[name] for name in _TEXTS if query.get(name)}
    options |= {name: query[name].lower() in ("true", "1") for name in _FLAGS if name in query}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options.setdefault("endpoint_override", endpoint)
    user, _, _ = parts.netloc.rpartition("@")
    if user:
        name, _, password = user.partition(":")
        options |= {"access_key": unquote(name), "secret_key": unquote(password)}
    return {
        **options,
        "region": region,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "request_timeout": _SILENCE_TIMEOUT_S,
        # Not in the foreground: there, a part that is refused can leave an empty object as well.
        "background_writes": True,
    }


def _by_fsspec(location: str) -> tuple[fs.FileSystem, str]:
    """Opens a place of a scheme that Arrow does not know."""
    scheme = location.partition("://")[0]
    try:
        opened, root = importlib.import_module("fsspec.core").url_to_fs(location)
    except ImportError as error:  # of fsspec, or of what it needs for this scheme
        raise pa.ArrowInvalid(
            f"pyarrow does not know {scheme}://, and fsspec cannot open it here ({error}): install fsspec "
            "with its package for that store, or mount it"
        ) from error
    except ValueError as error:
        raise pa.ArrowInvalid(f"neither pyarrow nor fsspec knows {scheme}://: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(opened)), root.rstrip("/")
