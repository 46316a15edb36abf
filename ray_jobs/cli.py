"""The command line, ``landmarks``: what each command takes; what it does lies in a module of its own."""

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from extraction.errors import FailureLimitError, JobError
from extraction.gl import missing_library
from extraction.policy import Policy, described
from ray_jobs import (
    annotate,
    cache_command,
    datasets,
    draw_command,
    export,
    extract_command,
    holes,
    import_,
    report_command,
    verify,
    views,
)
from ray_jobs.command_options import Json, Out
from ray_jobs.submit import submit

# Typer gives this base of BadParameter no public name of its own.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="landmarks",
    help="Turns sign-language video into a verified Parquet data set of MediaPipe landmarks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Instead of those of the process.

    Returns:
        The exit code: 0 all done, 1 finished with failed clips, 2 wrong use or environment, 3 too many clips
        failed, 130 stopped.
    """
    return guarded(lambda: int(app(arguments, standalone_mode=False) or 0))


def guarded(command: Callable[[], int]) -> int:
    """Runs a command; what is wrong with its use or this machine is told in a sentence, not a trace.

    Args:
        command: Returns its exit code.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        return command()
    except JobError as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}")
        return 3 if isinstance(error, FailureLimitError) else 2
    except _UsageError as error:
        if not error.format_message():  # no command at all: its help has been shown
            return 2
        hint = "landmarks --help"
        if hasattr(error, "option_name"):  # click's NoSuchOption: ids of How2Sign begin like options
            hint += "; a name that begins with - goes behind a lone --, and all options before that"
        errors.print(f"[red]error:[/red] {escape(error.format_message())} ({hint})")
        return 2
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # Whatever else it is, it is not "finished with failed clips", which a trace's exit code 1 would say.
        explained = missing_library(error)
        if explained is None:
            traceback.print_exc()
        errors.print(f"[red]error:[/red] {escape(explained or str(error))}")
        return 2


app.command("extract")(extract_command.extract)
app.command("submit", context_settings={"ignore_unknown_options": True})(submit)


@app.command()
def progress(out: Out, as_json: Json = False) -> int:
    """Show clips done, failed and to do by split, while a job runs and after."""
    return views.progress(out, as_json)


@app.command()
def view(
    out: Out,
    clip: Annotated[str | None, typer.Argument(help="Id of one clip.")] = None,
    detailed: Annotated[bool, typer.Option(help="Every clip; of one clip, every stretch and error.")] = False,
    as_json: Json = False,
) -> int:
    """Show counts, shapes, detection rates and stretches with missing hands."""
    return views.view(out, clip, detailed, as_json)


@app.command()
def failures(out: Out, as_json: Json = False) -> int:
    """List the clips that failed, and why."""
    return views.failures(out, as_json)


app.command("datasets")(datasets.datasets)
app.command("check-dataset")(datasets.check_dataset)
app.command("annotate")(annotate.annotate)
app.command("holes")(holes.holes)
app.command("draw")(draw_command.draw)
app.command("report")(report_command.report)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.command("cache")(cache_command.cache)
app.command("verify")(verify.verify)


models = typer.Typer(no_args_is_help=True, help="List and fetch the models of MediaPipe's Tasks.")
app.add_typer(models, name="models")


@models.command("list")
def models_list(as_json: Json = False) -> int:
    """List the official models: where they lie here, licence and source."""
    from ray_jobs.models import list_models

    return list_models(as_json)


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="As `landmarks models list` names it.")],
    to: Annotated[str | None, typer.Option(help="File to make, instead of one in the cache.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Of a mirror.")] = None,
    as_json: Json = False,
) -> int:
    """Fetch a model and verify it; what is there and good is not fetched again."""
    from ray_jobs.models import fetch

    return fetch(name, base_url, as_json, to)


@app.command("doctor")
def examine(as_json: Json = False) -> int:
    """Say what this machine has, what a job lacks on it, and what to do next."""
    from ray_jobs.doctor import doctor

    return doctor(as_json, described(Policy()))


@app.command("explain")
def explain_error(
    text: Annotated[str, typer.Argument(help="A pasted error, a log file, or - for standard input.")],
    log: Annotated[bool, typer.Option("--log", help="The text is a line of a log.")] = False,
    as_json: Json = False,
) -> int:
    """Explain an error of MediaPipe, EGL or OpenGL, or count those in a log."""
    from ray_jobs.explain import explain

    return explain(text, as_json, log)


if __name__ == "__main__":
    sys.exit(main())
