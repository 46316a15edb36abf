"""``landmarks submit``: an extraction as a job of a cluster's job server, followed to its exit code."""

import asyncio
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from unittest.mock import patch
from urllib.parse import urlsplit

import typer

from extraction.errors import JobError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

_SERVER = "http://127.0.0.1:8265"
"""Where Ray's job server is by default, on the head and at the near end of a tunnel to it."""
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_PATHS = ("frames", "out", "manifest", "annotations", "model")
"""Parameters of ``extract`` that name files of the cluster."""
_SECRET = re.compile(r"key|secret|token|password|credential|signature", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"(^|_)(key|secret|token|password)(_|$)", re.IGNORECASE)
"""Not GOOGLE_APPLICATION_CREDENTIALS, which names a file."""
_OURS = range(4)
"""Exit codes of ``extract`` that say how a job ended; 130 is one, too."""
_LOOK_S = 1.0
_GONE_S = 60.0
"""A job server that has not answered for so long is gone."""


def submit(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="FRAMES OUT [OPTIONS OF extract]", help="As for `landmarks extract`."),
    ],
    address: Annotated[
        str,
        typer.Option(
            help="URL of the cluster's job server; RAY_API_SERVER_ADDRESS or RAY_ADDRESS say the same.",
            show_default=_SERVER,
        ),
    ] = "",
    working_dir: Annotated[
        str, typer.Option(help="Folder that goes with the job, its code before what the nodes have.")
    ] = "",
    runtime_env: Annotated[
        str, typer.Option(help="Ray's runtime environment: a YAML or JSON file, or JSON itself.")
    ] = "",
    name: Annotated[str, typer.Option(help="Id of the job, instead of one that Ray makes up.")] = "",
    wait: Annotated[bool, typer.Option(help="Follow the job's log, and end with its exit code.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for machines; the job's log goes to stderr.")
    ] = False,
) -> int:
    """Run an extraction on a cluster: hand it to the job server, follow its log, end with its exit code."""
    entrypoint = entrypoint_of(arguments)
    environment = _runtime_env(runtime_env, working_dir)
    client = _client(_address(address))
    url = client.get_address()
    tell = sys.stderr if as_json else sys.stdout
    try:
        job = client.submit_job(entrypoint=entrypoint, submission_id=name or None, runtime_env=environment)
    except (RuntimeError, ValueError, OSError) as error:
        raise JobError(f"{url} did not take the job: {error}") from error
    print(f"job {job}: {entrypoint}", file=tell, flush=True)
    ended = None
    if wait:
        try:
            ended = _follow(client, job, tell)
        except KeyboardInterrupt:
            print(f"\njob {job} goes on without you.\n{_remarks(url, job)}", file=tell)
            return 130
        _tell_end(ended, tell)
    else:
        print(_remarks(url, job), file=tell)
    code = exit_code_of(ended) if ended else 0
    if as_json:
        status = str(ended.status.value) if ended else None
        about = {"job": job, "address": url, "entrypoint": entrypoint, "status": status}
        print(json.dumps({**about, "exit_code": code if ended else None}, indent=2))
    return code


def entrypoint_of(arguments: Sequence[str]) -> str:
    """The command that the cluster runs, after a check of all that can be checked here.

    Args:
        arguments: Of ``landmarks extract``.

    Raises:
        JobError: If it cannot run there.
        typer.BadParameter: If ``extract`` does not know them, and other errors of usage.
    """
    from ray_jobs.cli import app  # here: it registers this command

    command: Any = typer.main.get_command(app)
    extract = command.commands["extract"]
    with patch.dict(os.environ):
        os.environ.pop("RAY_ADDRESS", None)  # extract's --address; the job has its own
        context = extract.make_context("landmarks extract", list(arguments))
    given = {key: value for key, value in context.params.items() if value not in (None, (), [])}
    if given.get("address") or given.get("dashboard"):
        raise JobError(
            "--address names the job server here, and the job finds its cluster by itself; --dashboard is "
            "for a local Ray only"
        )
    if "frames" not in given or ("out" not in given and "manifest" not in given):
        raise JobError("expected FRAMES and OUT: landmarks submit FRAMES OUT (or --manifest FILE OUT)")
    words, places = [], []
    for parameter in extract.params:
        value = given.get(parameter.name)
        source = context.get_parameter_source(parameter.name)
        if value is None or source is None or source.name != "COMMANDLINE":
            continue
        if parameter.name in _PATHS:
            value = _of_cluster(parameter.name, value)
        if parameter.param_type_name == "argument":
            places.append(value)
        elif parameter.is_flag:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            values = value if parameter.multiple else [value]
            words += [f"{parameter.opts[0]}={each}" for each in values]
    return shlex.join(["python", "-m", "ray_jobs.extract", *words, "--", *places])


def _of_cluster(name: str, place: str) -> str:
    """A path as every node of the cluster finds it."""
    if "://" not in place:
        return os.path.abspath(place)
    from storage.s3 import expect_place

    try:
        expect_place(place)
    except JobError as error:
        raise JobError(f"{name}: {error}") from error
    parts = urlsplit(place)
    keys = [field.partition("=")[0] for field in parts.query.split("&")]
    if "@" in parts.netloc or any(map(_SECRET.search, keys)):
        raise JobError(
            f"{name}: {parts.scheme}://... holds credentials, and the command of a job stands in Ray's list "
            "of jobs and its logs: leave them to the nodes' role or environment (docs/cluster.md)"
        )
    return place


def _runtime_env(text: str, working_dir: str) -> dict[str, Any]:
    environment: Any = {}
    if text:
        import yaml  # type: ignore[import-untyped]  # of which JSON is a part

        try:
            content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
            environment = yaml.safe_load(content)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise JobError(f"--runtime-env: expected a YAML or JSON file, or JSON: {error}") from error
        if not isinstance(environment, dict):
            raise JobError(f"--runtime-env: expected names with values, found {type(environment).__name__}")
    named = environment.get("env_vars") or {}
    if secret := [name for name in named if _SECRET_VARIABLE.search(str(name))]:
        raise JobError(
            f"--runtime-env: {', '.join(map(str, secret))}: Ray shows a job's environment to whoever may see "
            "its jobs: leave credentials to the nodes' role, or to the environment of `ray start` "
            "(docs/cluster.md)"
        )
    if working_dir:
        environment["working_dir"] = working_dir
    folder = environment.get("working_dir", "")
    if folder and "://" not in folder:
        if not os.path.isdir(folder):
            raise JobError(f"--working-dir: there is no folder {folder!r}")
        # What .gitignore names stays here anyway; Ray knows nothing of this one.
        environment["excludes"] = [*environment.get("excludes", []), "/.git"]
    return dict(environment)


def _address(given: str) -> str:
    # RAY_ADDRESS may as well name a cluster to join, such as "auto".
    named = (os.environ.get(name, "") for name in _ADDRESSES)
    address = given or next((url for url in named if _is_url(url)), _SERVER)
    if not _is_url(address):
        raise JobError(f"--address: expected the URL of a job server such as {_SERVER}, found {address!r}")
    return address


def _is_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _client(address: str) -> "JobSubmissionClient":
    """Connects to a job server, with a token where there is one."""
    _use_token()
    # Ray lets its variables win over what the caller asks for.
    with patch.dict(os.environ):
        for name in _ADDRESSES:
            os.environ.pop(name, None)
        from ray.exceptions import AuthenticationError

        try:
            from ray.job_submission import JobSubmissionClient

            return JobSubmissionClient(address)
        except ModuleNotFoundError as error:
            raise JobError(_no_client(error)) from error
        except AuthenticationError as error:
            raise JobError(_unauthorized(address, str(error))) from error
        except RuntimeError as error:
            if "ray[default]" in str(error):
                raise JobError(_no_client(error)) from error
            raise JobError(f"{address}: {error}") from error
        except (OSError, ValueError) as error:
            raise JobError(
                f"{address}: no job server answers there ({error}). Does the cluster run, and the tunnel to "
                "it (ray dashboard cluster.yaml; kubectl port-forward)?"
            ) from error


def _no_client(error: Exception) -> str:
    return (
        "submitting needs more of Ray than a local job: pip install '.[cluster]' in a checkout, or "
        f"'ray[default]' ({error})"
    )


def _use_token() -> None:
    """Turns Ray's token authentication on where a token lies ready and nothing is said of it."""
    lies_ready = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if lies_ready or Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _unauthorized(address: str, said: str) -> str:
    wrong = "Invalid" in said or "invalid" in said
    found = "the token from here is another one" if wrong else "no token was sent"
    return (
        f"{address} wants the cluster's token, and {found} ({'403' if wrong else '401'}). Put it in "
        "~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH, and let RAY_AUTH_MODE be token; on the "
        "cluster's head `ray get-auth-token` prints it"
    )


def _follow(client: "JobSubmissionClient", job: str, to: IO[str]) -> "JobDetails":
    """Prints a job's log until the job has ended."""
    printed, seen = 0, time.monotonic()
    while True:
        try:
            details = client.get_job_info(job)
            printed = asyncio.run(_print_log(client, job, to, printed))
            if details.status.is_terminal():
                return details
            seen = time.monotonic()
        except (OSError, RuntimeError) as error:
            if time.monotonic() - seen > _GONE_S:
                raise JobError(
                    f"the job server has not answered for {_GONE_S:.0f} s ({error}). The job may go on; what "
                    f"it has done stays.\n{_remarks(client.get_address(), job)}"
                ) from error
        time.sleep(_LOOK_S)


async def _print_log(client: "JobSubmissionClient", job: str, to: IO[str], printed: int) -> int:
    """Prints a log from a place on, and returns how much of it there is; the line may break off."""
    length = 0
    with suppress(RuntimeError, OSError):
        async for text in client.tail_job_logs(job):
            new = text[max(printed - length, 0) :]
            length += len(text)
            if new:
                to.write(new)
                to.flush()
    return max(length, printed)


def exit_code_of(details: "JobDetails") -> int:
    """The exit code of ``landmarks extract`` as a job ended; Ray's own commands make every failure 1.

    Args:
        details: Of a job that has ended.
    """
    if details.status == "STOPPED":
        return 130
    code = details.driver_exit_code
    if code is None:
        return 0 if details.status == "SUCCEEDED" else 2
    return code if code in (*_OURS, 130) else 2


def _tell_end(details: "JobDetails", to: IO[str]) -> None:
    code = details.driver_exit_code
    if details.status == "STOPPED":
        text = "was stopped; what is whole stays, and the same command again goes on"
    elif code is None:
        text = f"{details.status.value.lower()}: {(details.message or '').strip()}"
    elif code in (*_OURS, 130):
        text = f"ended with exit code {code}"
    else:
        text = (
            f"ended with exit code {code}, which is none of extract's: is the package installed where the "
            "cluster's python finds it? A negative one is a signal that killed it"
        )
    print(f"job {details.submission_id} {text}", file=to)


def _remarks(url: str, job: str) -> str:
    return (
        f"its log:  ray job logs --follow --address {url} {job}\n"
        f"its end:  ray job status --address {url} {job}\n"
        f"stop it:  ray job stop --address {url} {job}"
    )
