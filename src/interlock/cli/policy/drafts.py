"""``interlock policy import | fmt | schema | export``: drafts of policies, and policies in other forms."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import drafted, installation, report
from interlock.cli.options import AsJson, ComparedHome, PolicyFile
from interlock.cli.report import Line, Misuse
from interlock.model.errors import InvalidInput, PolicyError

if TYPE_CHECKING:
    from interlock.authoring.fmt import Formatted

NOT_FORMATTED = PolicyError.exit_code

imports = typer.Typer(
    name="import",
    help="Draft a policy from what there is: tool lists, API descriptions, functions, ESCALATE.md.",
    epilog="Example: interlock policy import mcp tools.json -o policy.yaml",
)

Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the draft here, and its tests beside it; else print it."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
KnownHome = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Also say which topics the policy in force in that home catalogues."
    ),
]
SameHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Taken as everywhere; nothing here depends on it."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(imports)
    app.command("fmt", epilog="Example: interlock policy fmt policy.yaml --check")(fmt)
    app.command("schema", epilog="Example: interlock policy schema > policy.schema.json")(schema)
    app.command("export", epilog="Example: interlock policy export policy.yaml --cel")(export)


# --- import -----------------------------------------------------------------------------------------------


@imports.command(
    "escalate-md", epilog="Example: interlock policy import escalate-md ESCALATE.md -o policy.yaml"
)
def escalate_md(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An ESCALATE.md; - reads standard input.")],
    output: Output = None,
    force: Force = False,
    home: KnownHome = None,
    as_json: AsJson = False,
) -> None:
    """Draft the rules of an ESCALATE.md: what always needs approval, for how long, and what then.

    Its triggers become rules on risk tags; which of your tools carry those tags is yours to say.
    """
    from interlock.authoring.import_escalate import draft_from_escalate

    text = drafted.read_text(file)
    draft = draft_from_escalate("standard input" if file == "-" else file, text)
    drafted.deliver(draft, output, force=force, home=home, as_json=as_json)


@imports.command("mcp", epilog="Example: interlock policy import mcp tools.json --name github -o policy.yaml")
def mcp(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The result of tools/list as JSON; - reads standard input."),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SERVER", help="The server's name; the file's by default."),
    ] = None,
    output: Output = None,
    force: Force = False,
    home: KnownHome = None,
    as_json: AsJson = False,
) -> None:
    """Draft a catalogue from the tools of an MCP server, or of several in one object by name.

    Tiers are suggested from names, types and annotations; an annotation never lowers what a name suggests.
    """
    from interlock.authoring.import_mcp import draft_from_mcp

    server = name or ("mcp" if file == "-" else Path(file).stem)
    draft = draft_from_mcp(drafted.read_text(file), server=server)
    drafted.deliver(draft, output, force=force, home=home, as_json=as_json)


@imports.command("openapi", epilog="Example: interlock policy import openapi openapi.yaml -o policy.yaml")
def openapi(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="An OpenAPI 3 description, JSON or YAML; - reads standard input."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="API", help="The topics' first segment; the title by default."),
    ] = None,
    output: Output = None,
    force: Force = False,
    home: KnownHome = None,
    as_json: AsJson = False,
) -> None:
    """Draft a catalogue from the operations of an API, with how each is called."""
    from interlock.authoring.import_openapi import draft_from_openapi

    draft = draft_from_openapi(drafted.read_text(file), api=name or "")
    drafted.deliver(draft, output, force=force, home=home, as_json=as_json)


@imports.command("python", epilog="Example: interlock policy import python app.tools:tools -o policy.yaml")
def python(
    module: Annotated[
        str,
        typer.Argument(metavar="MODULE[:NAME]", help="A module, or a list or mapping of functions in one."),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="PREFIX", help="The topics' first segments; the module by default."),
    ] = None,
    output: Output = None,
    force: Force = False,
    home: KnownHome = None,
    as_json: AsJson = False,
) -> None:
    """Draft a catalogue from Python functions. This imports the module, which runs its code.

    The module is looked up from the working directory on. Without a NAME its public functions are taken.
    """
    from interlock.authoring.import_python import describe, draft_from_functions, functions_of

    found = functions_of(load(module))
    functions = [describe(label, function) for label, function in found]
    draft = draft_from_functions(name or module.partition(":")[0], functions)
    drafted.deliver(draft, output, force=force, home=home, as_json=as_json)


def load(target: str) -> Any:
    """What ``module:name`` names. Raises `InvalidInput` where there is none or importing it fails."""
    name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # somebody else's code: whatever it raises is told as its own
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"importing it fails: {reason}", path=name, fix="Name a module.") from error
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed the path
            sys.path.remove(here)
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            raise InvalidInput(f"it has no {part!r}", path=name, fix="As in app.tools:tools")
        found = getattr(found, part)
    return found


# --- fmt --------------------------------------------------------------------------------------------------


def fmt(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Policy files, or directories of them.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; end with 3 where something would change.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the files back.")] = False,
    _home: SameHome = None,
    as_json: AsJson = False,
) -> None:
    """Print policies with their conditions in canonical form: AND, OR and NOT become &&, || and !.

    Conditions, blanks at the ends of lines and the last line's end are rewritten; comments, blank lines, the
    order of keys and everything else stay as they are. Without --check or --write one file is printed.
    """
    from interlock.authoring.fmt import format_policy
    from interlock.home import read_sources

    if check and write:
        raise Misuse("--check writes nothing; leave --write out.")
    sources = {name: text for file in files for name, text in read_sources(file).items()}
    if not (check or write or as_json) and len(sources) != 1:
        raise Misuse(f"{len(sources)} files are too many to print.", fix="Say --check or --write.")
    formatted = {name: format_policy(name, text) for name, text in sources.items()}
    changed = [name for name, found in formatted.items() if found.text != sources[name]]
    if write:
        drafted.make_files({Path(name).resolve(): formatted[name].text for name in changed}, force=True)
    document = {
        "changed": changed,
        "files": [_formatted(name, found, name in changed) for name, found in formatted.items()],
        "written": changed if write else [],
    }
    if as_json:
        report.answer(document, (), as_json=True)
    elif check or write:
        report.say(_said(formatted, changed, write=write))
    else:
        sys.stdout.write("".join(found.text for found in formatted.values()))
        sys.stdout.flush()
    if check and changed:
        raise typer.Exit(NOT_FORMATTED)


def _formatted(name: str, found: Formatted, changed: bool) -> dict[str, Any]:
    conditions = [
        {"line": c.place.line, "column": c.place.column, "before": c.before, "after": c.after}
        for c in found.changes
    ]
    return {"file": name, "changed": changed, "text": found.text, "conditions": conditions}


def _said(formatted: dict[str, Formatted], changed: list[str], *, write: bool) -> list[Line]:
    lines: list[Line] = []
    for name in changed:
        lines.append((f"{name}: {'formatted' if write else 'not formatted'}", "yellow"))
        for change in formatted[name].changes:
            lines.append(f"  line {change.place.line}: {change.before}")
            lines.append(f"  → {change.after}")
    count = len(formatted) - len(changed)
    return [
        *lines,
        f"{count} of {len(formatted)} {'file' if len(formatted) == 1 else 'files'} formatted already",
    ]


# --- schema, export ---------------------------------------------------------------------------------------


def schema(_home: SameHome = None, _as_json: AsJson = False) -> None:
    """Print the JSON Schema of a policy file, for editors and other programs."""
    from interlock.policy.schema import json_schema

    _print(json_schema())


def export(
    file: PolicyFile,
    cel: Annotated[bool, typer.Option("--cel", help="As CEL expressions; the only form there is.")] = False,
    home: ComparedHome = None,
    _as_json: AsJson = False,
) -> None:
    """Print a policy's rules in another language, as JSON: CEL, one expression for each rule.

    The expressions never fail: what is missing or of another type is decided as the policy decides it. The
    document says which variables they read, how the rules are combined, and what is not expressed.
    """
    from interlock.authoring.export_cel import export_cel
    from interlock.home import read_policy

    if not cel:
        raise Misuse("Which form?", fix="Say --cel.")
    policy = read_policy(file)
    _print({**export_cel(policy), "in_force": installation.in_force(policy, home)})


def _print(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()
