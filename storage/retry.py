"""Trying again: what of a store's errors can pass, how long to wait for it, and what a person can mend."""

import errno
import logging
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_PASSING = frozenset(
    (
        *(errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT),
        *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE),
        *(errno.ENETUNREACH, errno.EHOSTUNREACH),
    )
)
# Arrow gives S3's errors as OSError without errno: the name that the AWS SDK has for them (S3ErrorToString in
# Arrow's s3_internal.h), or where it has none the HTTP status and S3's own name.
_PASSING_S3 = re.compile(
    r"AWS Error (INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING)\b"
    r"|AWS Error (REQUEST_TIMEOUT|NETWORK_CONNECTION)\b"
    r"|HTTP status (408|429|500|502|503|504)\)"
    r"|ExceptionName: (OperationAborted|RequestTimeout|SlowDown)\b"
)
# Of NETWORK_CONNECTION: a malformed address, certificates (libcurl-errors(3): 1, 3, 58-60, 77, 83, 90, 91),
# and a server that speaks HTTP where TLS was expected.
_LASTING_S3 = re.compile(r"curlCode: (1|3|58|59|60|77|83|90|91),|wrong version number")

_ADVICE = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "that file system is read-only: mount it for writing, or choose another OUT",
    errno.EIO: "that disk or file system reports damage: have it looked at, or choose another OUT",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}
_ADVICE_S3 = (
    (r"ExpiredToken|REQUEST_EXPIRED|TokenRefreshRequired", "these credentials have expired: get new ones"),
    (
        r"INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|UNRECOGNIZED_CLIENT|SIGNATURE|InvalidToken",
        "these credentials are not known there: mend the access key and its secret, or the endpoint",
    ),
    (r"REQUEST_TIME_TOO_SKEWED", "set this machine's clock"),
    (r"NO_SUCH_BUCKET", "create the bucket, or mend its name, its region or the endpoint"),
    (r"HTTP status 507|Quota|StorageFull|InsufficientStorage", "free some space or quota there"),
    (r"HTTP status 301|Redirect|AuthorizationHeaderMalformed", "name the bucket's region (?region=...)"),
    (r"ACCESS_DENIED", "give these credentials the right to {rights} there"),
    (r"\[code 133\]", "it is archived: restore it first, or leave it out"),
    (
        r"HTTP status 400",
        "see whether these credentials have expired, and whether region and endpoint are right",
    ),
    (
        r"curlCode: (35|58|59|60|77|83|90|91),|wrong version number",
        "mend the scheme (?scheme=http or https) or the certificate of that endpoint",
    ),
    (
        r"NETWORK_CONNECTION",
        "see to it that the endpoint answers: is its name right, does it run, is the network up?",
    ),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on with a store that fails in ways that can pass.

    Attributes:
        total_s: Seconds from the first try within which a further one may begin.
        tries: Tries at most; 1 gives up at once.
        first_pause_s: Seconds between the first two tries; twice as many after each.
        longest_pause_s: Seconds between two tries at most.
    """

    total_s: float = 120.0
    tries: int = 60
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0

    def pause_s(self, failed: int) -> float:
        """Seconds to wait after so many failed tries; drawn, so that workers do not come back in step."""
        longest = min(self.first_pause_s * 2.0 ** min(failed - 1, 30), self.longest_pause_s)
        return longest * random.uniform(0.5, 1.0)


NO_PATIENCE = Patience(tries=1)
"""For what will be done again soon anyway, and for what nobody should wait for."""


def patiently(
    action: Callable[[], _T],
    patience: Patience,
    what: str,
    before_retry: Callable[[], object] = lambda: None,
) -> _T:
    """Does something until it succeeds, fails in a way that cannot pass, or patience ends.

    Args:
        action: May be called several times.
        patience: How often, how long.
        what: What it is about, for the log.
        before_retry: Called before each further try; what it raises ends the matter.

    Raises:
        OSError: The last one that the action raised.
    """
    began = told = time.monotonic()
    failed = 0
    while True:
        try:
            return action()
        except OSError as error:
            failed += 1
            pause_s = patience.pause_s(failed)
            passed_s = time.monotonic() - began
            if not can_pass(error) or failed >= patience.tries or passed_s + pause_s > patience.total_s:
                raise
            if failed == 1 or time.monotonic() - told > 30:
                told = time.monotonic()
                _log.warning("%s: %s: trying again, for %g s at most", what, said(error), patience.total_s)
        time.sleep(pause_s)
        before_retry()


def can_pass(error: OSError) -> bool:
    """Whether the same may succeed in a while, with nothing mended.

    A full disk, a quota, a missing permission or bucket and wrong credentials do not pass.
    """
    if error.errno:
        return error.errno in _PASSING
    return bool(_PASSING_S3.search(str(error))) and not _LASTING_S3.search(str(error))


def is_of_store(error: OSError) -> bool:
    """Whether the store refused, rather than that a file's content is not what a reader expected."""
    return bool(error.errno) or "AWS Error" in str(error)


def said(error: OSError) -> str:
    """What went wrong, without Python's decoration."""
    return os.strerror(error.errno) if error.errno else str(error)


def advice(error: OSError, to_do: str, rights: str = "list, read, write and delete") -> str:
    """What a person can do about it.

    Args:
        error: What the store said.
        to_do: What was to be done there: ``"read"`` or ``"write"``.
        rights: All that will be done there.
    """
    if error.errno in (errno.EACCES, errno.EPERM):
        another = ", or choose another OUT" if to_do == "write" else ""
        return f"give yourself permission to {to_do} there{another}"
    if error.errno in _ADVICE:
        return _ADVICE[error.errno]
    if error.errno is None:
        text = str(error)
        found = next((words for pattern, words in _ADVICE_S3 if re.search(pattern, text)), None)
        if found:
            return found.format(rights=rights)
    return (
        "wait until it answers well again" if can_pass(error) else f"see to it that it can be {_DONE[to_do]}"
    )


_DONE = {"read": "read", "write": "written"}

__all__ = ["NO_PATIENCE", "Patience", "advice", "can_pass", "is_of_store", "patiently", "said"]
