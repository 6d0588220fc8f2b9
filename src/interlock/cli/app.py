"""The command: its groups, and how every error becomes words and an exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from interlock.cli import (
    approvals,
    doctor,
    hook,
    init,
    keys,
    kill,
    ledger,
    mcp,
    policy,
    rollback,
    serve,
    webhooks,
    worker,
)
from interlock.cli.remote import Refused
from interlock.cli.report import Misuse, failure
from interlock.model.errors import HomeUnusable, InterlockError

INTERRUPTED = 130

app = typer.Typer(
    name="interlock",
    help="Hold what is consequential until the right person has decided, run exactly that once, and prove "
    "it.",
    epilog="Example: interlock demo",
    context_settings={"max_content_width": 100},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
serve.register(app)
worker.register(app)
init.register(app)
kill.register(app)
rollback.register(app)
hook.register(app)
doctor.register(app)
app.add_typer(policy.app)
app.add_typer(approvals.app)
app.add_typer(keys.app)
app.add_typer(webhooks.app)
app.add_typer(ledger.app)
app.add_typer(mcp.app)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"interlock {installed('interlock')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: without the program's name; the process's own by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = typer.main.get_command(app).main(given, prog_name="interlock", standalone_mode=False)
    except InterlockError as error:
        return _failed(error, as_json=as_json)
    except Refused as refused:
        failure(refused.problem, as_json=as_json)
        return refused.exit_code
    except typer.TyperException as error:
        return _failed(_misuse(error), as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        detail = f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."
        return _failed(HomeUnusable(detail), as_json=as_json)
    return code if isinstance(code, int) else 0


def _failed(error: InterlockError, *, as_json: bool) -> int:
    failure(error.problem(), as_json=as_json)
    return error.exit_code


def _misuse(error: typer.TyperException) -> Misuse:
    context = getattr(error, "ctx", None)
    path = "interlock" if context is None else context.command_path
    return Misuse(error.format_message(), fix=f"See: {path} --help")
