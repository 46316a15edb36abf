"""``landmarks doctor``: whether a job can run on this machine, on one screen."""

import dataclasses
import json
import os
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ray_jobs.checks import NOTE, OK, PROBLEM, WARNING, Check, run_checks

_STYLES = {OK: "green", NOTE: "dim", WARNING: "yellow", PROBLEM: "bold red"}
_FILE_COLUMNS = 120
"""Width where the output goes to a file or another program, which know no width of their own."""


def doctor(as_json: bool, policy_rows: Sequence[tuple[str, str]]) -> int:
    """Prints what this machine has, what a job lacks on it, and what to do next.

    Takes at most about 5 seconds, and starts no Ray and no detector.

    Args:
        as_json: Print JSON for machines.
        policy_rows: What happens to a lost detector: name and value of each line.

    Returns:
        The exit code: 0 if a job can run here with the default engine, 1 otherwise.
    """
    checks, gl = run_checks()
    works = all(check.status != PROBLEM for check in checks)
    if as_json:
        value = {
            "works": works,
            "checks": [dataclasses.asdict(check) for check in checks],
            "gl": dataclasses.asdict(gl),
            "policy": dict(policy_rows),
        }
        print(json.dumps(value, indent=2))
        return 0 if works else 1
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_COLUMNS
    console.print(_screen(checks))
    console.print("\n[bold]when a detector is lost[/bold]")
    console.print(_policy(policy_rows))
    console.print(f"\n{_verdict(checks)}")
    return 0 if works else 1


def _screen(checks: Sequence[Check]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        text = escape(check.text) + (f"\n[bold]>[/bold] {escape(check.advice)}" if check.advice else "")
        style = _STYLES[check.status]
        table.add_row(f"[{style}]{check.status}[/{style}]", check.name, text)
    return table


def _policy(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table


def _verdict(checks: Sequence[Check]) -> str:
    problems = [check.name for check in checks if check.status == PROBLEM]
    if problems:
        return f"[bold red]no job can run here yet:[/bold red] {escape(', '.join(problems))}"
    return "[green]a job can run here[/green]"
