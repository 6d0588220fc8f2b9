"""``interlock keys``: keys and people of a home, for whoever administers this host.

A key or a link is printed once, by the command that makes it. Whoever may run these commands can make a key
in anybody's name; the ledger shows the key, and which key decided.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import installation, permits, report
from interlock.cli.options import HOME, AsJson, HomeDir
from interlock.cli.remote import DEFAULT_URL
from interlock.cli.report import Line, Misuse
from interlock.model.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from interlock.home import Home
    from interlock.identity import Key, Person

app = typer.Typer(
    name="keys",
    help="Make, list and revoke keys; let people in.",
    epilog="Example: interlock keys list",
)

app.command("rotate-permit-key", epilog="Example: interlock keys rotate-permit-key")(
    permits.rotate_permit_key
)


@app.command(
    "add",
    epilog="Example: interlock keys add --kind agent --name support-bot --topics 'support.**'",
)
def add(
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="agent, adapter, executor or person.")],
    name: Annotated[
        str,
        typer.Option(
            "--name", metavar="NAME", help="The agent's or executor's name; of a person's key, a label."
        ),
    ],
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topics", metavar="PATTERN", help="What it may propose or execute. Repeatable, or with commas."
        ),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            "--operator", metavar="PERSON", help="Who operates the agent, and so never approves it."
        ),
    ] = None,
    person: Annotated[
        str | None,
        typer.Option("--person", metavar="PERSON", help="Whose key; somebody not enrolled yet is enrolled."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="As in 12h or 30d; never by default.")
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    An agent's key proposes its topics and decides nothing. A person's key answers approval requests.
    A home that --home names is made where there is none.
    """
    from interlock.identity import KeyKind

    if kind not in list(KeyKind):
        raise Misuse(f"{kind!r} is no kind of key.", fix=f"One of {', '.join(KeyKind)}.")
    theirs = kind == KeyKind.PERSON
    if theirs != (person is not None) or (theirs and (operator is not None or topics)):
        raise Misuse(
            "A person's key has --person, and neither --topics nor --operator; other keys have no --person.",
            fix="As in: interlock keys add --kind person --name laptop --person Ana",
        )
    scope = [pattern for given in topics or [] for pattern in re.split(r"[,\s]+", given) if pattern]
    lifetime = None if expires is None else _seconds(expires)
    with installation.opened(home or Path(HOME), create=home is not None) as opened:
        owner = enrolled = None
        if person is not None:
            owner, enrolled = _enrolled(opened, person)
        elif operator is not None:
            owner = opened.roster.named(operator)
        made, token = opened.keyring.add(
            KeyKind(kind), name, topics=scope, person=owner, lifetime_sec=lifetime, by=installation.here()
        )
        people = {p.id: p.name for p in opened.roster.all()}
    document = {"key": _document(made, people), "token": token, "enrolled": enrolled}
    lines: list[Line] = [] if enrolled is None else [f"{enrolled} is enrolled now, with every role."]
    lines += [
        f"{made.kind.value.capitalize()} key {made.id} for {name}. It is shown this once; keep it safe:",
        token,
    ]
    report.answer(document, lines, as_json=as_json)


@app.command("list", epilog="Example: interlock keys list --json")
def list_(home: HomeDir = None, as_json: AsJson = False) -> None:
    """List the keys, revoked ones included, and the people who are enrolled."""
    with installation.opened(home or Path(HOME)) as opened:
        keys, people = opened.keyring.all(), opened.roster.all()
    names = {person.id: person.name for person in people}
    document = {
        "keys": [_document(key, names) for key in keys],
        "people": [
            {"id": p.id, "name": p.name, "roles": sorted(role.value for role in p.roles)} for p in people
        ],
    }
    lines: list[Line] = [(f"Keys: {len(keys)}", "bold")]
    lines += [f"  {_sentence(key)}" for key in document["keys"]]
    lines += ["", (f"People: {len(people)}", "bold")]
    lines += [f"  {p['id']}  {p['name']}: {', '.join(p['roles'])}" for p in document["people"]]
    report.answer(document, lines, as_json=as_json)


@app.command("revoke", epilog="Example: interlock keys revoke key_0123456789abcdef0123456789abcdef")
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The key's id, key_…; not the key itself.")],
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key worthless, at once and for ever."""
    if identifier.startswith("ilk_"):
        raise Misuse("That is a key, not a key's id.", fix="Ids stand in: interlock keys list")
    with installation.opened(home or Path(HOME)) as opened:
        ended = opened.keyring.revoke(identifier, by=installation.here())
        names = {person.id: person.name for person in opened.roster.all()}
    report.answer(
        {"key": _document(ended, names)}, [f"{ended.id} ({ended.name}) is revoked."], as_json=as_json
    )


@app.command("remove", epilog="Example: interlock keys remove Ana")
def remove(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Their name or id.")],
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove a person: their keys, links and sessions are worthless at once."""
    with installation.opened(home or Path(HOME)) as opened:
        gone = opened.roster.remove(person, by=installation.here())
    report.answer(
        {"person": {"id": gone.id, "name": gone.name}}, [f"{gone.name} is removed."], as_json=as_json
    )


@app.command("link", epilog="Example: interlock keys link --person Ana")
def link(
    person: Annotated[
        str | None,
        typer.Option("--person", metavar="PERSON", help="Who signs in; needed where several are enrolled."),
    ] = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs one person into the console, once, within an hour."""
    with installation.opened(home or Path(HOME)) as opened:
        who = _one(opened, person)
        url = opened.server_url()
        token = opened.roster.issue_link(who)
    address = f"{url or DEFAULT_URL}/sign-in#{token}"
    document = {"person": {"id": who.id, "name": who.name}, "url": address}
    if url is None:
        report.warn(f"No server has announced itself in this home; the link assumes {DEFAULT_URL}.")
    lines: list[Line] = [f"Signs in {who.name}, once, within an hour:", address]
    report.answer(document, lines, as_json=as_json)


def _enrolled(home: Home, name: str) -> tuple[Person, str | None]:
    """A person by name or id, and the name where they had to be enrolled."""
    try:
        return home.roster.named(name), None
    except NotFound:
        person = home.roster.add(name, by=installation.here())
        return person, person.name


def _one(home: Home, name: str | None) -> Person:
    if name is not None:
        return home.roster.named(name)
    people = home.roster.all()
    if not people:
        raise NotFound(
            "Nobody is enrolled here.",
            fix="Start the server once, or: interlock keys add --kind person --name laptop --person NAME",
        )
    if len(people) > 1:
        raise Misuse(
            "Several people are enrolled: " + ", ".join(p.name for p in people) + ".",
            fix="Say who signs in: --person NAME",
        )
    return people[0]


def _seconds(text: str) -> int:
    from pydantic import TypeAdapter, ValidationError

    from interlock.policy.document import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise InvalidInput(
            str(error.errors()[0]["msg"]), path="--expires", fix="As in --expires 30d"
        ) from None


def _document(key: Key, people: dict[str, str]) -> dict[str, Any]:
    from interlock.model.ids import iso

    return {
        "id": key.id,
        "kind": key.kind.value,
        "name": key.name,
        "topics": list(key.topics),
        "person": None if key.person is None else {"id": key.person, "name": people.get(key.person)},
        "added_at": iso(key.added_at),
        "expires_at": None if key.expires_at is None else iso(key.expires_at),
        "revoked_at": None if key.revoked_at is None else iso(key.revoked_at),
    }


def _sentence(key: dict[str, Any]) -> str:
    parts = [f"{key['id']}  {key['kind']} {key['name']}"]
    if key["topics"]:
        parts.append(f"for {', '.join(key['topics'])}")
    if key["person"] is not None:
        whose = "of" if key["kind"] == "person" else "operated by"
        parts.append(f"{whose} {key['person']['name'] or key['person']['id']}")
    if key["revoked_at"] is not None:
        parts.append(f"revoked {report.moment(key['revoked_at'])}")
    elif key["expires_at"] is not None:
        parts.append(f"until {report.moment(key['expires_at'])}")
    return ", ".join(parts)
