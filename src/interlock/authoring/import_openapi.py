"""A draft from an OpenAPI description.

1. Every operation becomes a topic ``<api>.<operationId>`` (``<api>.<method>_<path>`` without one). Its method
   has a tier: GET and HEAD 1, POST, PUT and PATCH 3, DELETE 4; words of its name and tags can raise it.
2. Arguments are the parameters the connector can carry and the properties of a JSON body: path parameters
   and needed query parameters stand in the URL; POST, PUT and PATCH send all arguments as the body. What it
   cannot carry (needed headers and cookies, other media types) leaves the operation without `execute`, and
   the draft says why. Optional parameters it would not send are not declared.
3. The server's URL is taken only where host and path follow the rules for addresses; anything else is shown
   in a comment. Descriptions are shown in comments.
4. Arguments of one name in several places would be one argument here. Where the body repeats a parameter and
   takes the same, they are; else the arguments stay undeclared and the operation without `execute`.
5. Operations whose topics would be the same are left out and named.

Source: OpenAPI Specification 3.0.4 and 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.authoring import arguments, entries, names
from interlock.authoring.arguments import Arguments
from interlock.authoring.draft import Draft, DraftAction, DraftArg, catalogue_cases, one_line
from interlock.authoring.foreign import read_any
from interlock.authoring.names import Evidence
from interlock.model.errors import InvalidInput, WrongType
from interlock.policy.templates import check_address

MAX_OPERATIONS = 2_000
MAX_NAME = 64
"""Characters of the API's name, which is also the name of its credential."""
_TIERS = {"get": 1, "head": 1, "post": 3, "put": 3, "patch": 3, "delete": 4}
_DOES = {1: "reads", 3: "changes something", 4: "deletes"}
_TAGS = {1: ("read",), 3: ("write",), 4: ("delete",)}
_BODY = frozenset({"post", "put", "patch"})
_IN_PATH = re.compile(r"\{([^{}/]*)\}")
_SCALARS = frozenset({"string", "integer", "number", "boolean", "decimal"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        parameters: those of its path and its own, references followed; of two of one name its own.
        signed: whether it asks for credentials. unsigned: why the connector cannot give them, if so.
    """

    method: str
    path: str
    name: str
    told: str
    tags: tuple[str, ...]
    parameters: tuple[Mapping[str, Any], ...]
    body: Any
    server: str
    signed: bool
    unsigned: str


@dataclass(slots=True)
class _Wire:
    """How an operation's arguments travel, and what is in the way. `unreadable`: nobody knows all of them."""

    found: list[tuple[str, DraftArg, bool]] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    reviews: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    unreadable: bool = False


def draft_from_openapi(text: str, *, api: str = "") -> Draft:
    """The draft of a policy for the operations of an API.

    Args:
        api: the topics' first segment; the description's title where it is empty.

    Raises:
        InvalidInput: (a subclass) it is neither JSON nor YAML, or no OpenAPI 3 description.
    """
    root = read_any(text)
    if not isinstance(root, dict):
        raise WrongType("expected an OpenAPI description")
    version = root.get("openapi")
    if not str(version).startswith("3."):
        found = "swagger 2" if "swagger" in root else f"openapi {one_line(str(version), 20)}"
        raise InvalidInput(f"expected OpenAPI 3, found {found}", path="$.openapi")
    info = root.get("info")
    title = info.get("title") if isinstance(info, dict) else None
    named = names.segment(api) or names.segment(title if isinstance(title, str) else "")
    api = named[:MAX_NAME].strip("_-") or "api"
    operations = list(_operations(root))
    if not operations:
        raise InvalidInput("it describes no operation", path="$.paths")
    if len(operations) > MAX_OPERATIONS:
        raise InvalidInput(f"{len(operations)} operations; at most {MAX_OPERATIONS} are drafted at once")
    topics = [names.topic(api, names.segment(operation.name)) for operation in operations]
    known = names.unique(topics)
    pairs = list(zip(topics, operations, strict=True))
    actions = tuple(draft_operation(t, o, root, api) for t, o in pairs if t is not None and t in known)
    return Draft(
        name=api,
        heading=(
            f"Drafted from the OpenAPI description of {one_line(api, 100)}. Tiers are suggestions: from "
            "methods, names and the types of arguments.",
            "Lines behind a bar are the description's own words. Worst cases are for you to write; so is "
            "which answers prove that nothing happened (no_effect), and whether a repeated key is answered "
            "once (idempotent).",
        ),
        actions=actions,
        cases=catalogue_cases(actions),
        remarks=tuple(
            f"{o.method.upper()} {one_line(o.path, 100)} is not catalogued, so it is held: "
            + (f"another operation becomes {t} as well" if t else "its name cannot be a topic")
            for t, o in pairs
            if t not in known
        ),
    )


# --- reading ----------------------------------------------------------------------------------------------


def _operations(root: Mapping[str, Any]) -> Iterator[Operation]:
    paths = root.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        item = arguments.resolved(item, root)
        for method, found in item.items():
            if method not in _TIERS or not isinstance(found, dict):
                continue
            operation_id = found.get("operationId")
            named = isinstance(operation_id, str) and names.segment(operation_id)
            told = found.get("summary") or found.get("description") or ""
            tags = found.get("tags")
            yield Operation(
                method,
                path,
                operation_id
                if named and isinstance(operation_id, str)
                else "_".join(names.words(f"{method} {path}")),
                told if isinstance(told, str) else "",
                tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
                _parameters([item.get("parameters"), found.get("parameters")], root),
                found.get("requestBody"),
                _server(found, item, root),
                *_signed(found.get("security", root.get("security")), root),
            )


def _parameters(lists: list[Any], root: Any) -> tuple[Mapping[str, Any], ...]:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for listed in lists:
        for item in listed if isinstance(listed, list) else ():
            parameter = arguments.resolved(item, root)
            name, place = parameter.get("name"), parameter.get("in")
            if isinstance(name, str) and isinstance(place, str):
                found[name, place] = parameter
    return tuple(found.values())


def _server(*levels: Mapping[str, Any]) -> str:
    """The URL of the first server of the innermost level that names one, variables at their defaults."""
    for level in levels:
        servers = level.get("servers")
        first = servers[0] if isinstance(servers, list) and servers else None
        if isinstance(first, dict) and isinstance(first.get("url"), str):
            url: str = first["url"]
            variables = first.get("variables")
            for name, variable in variables.items() if isinstance(variables, dict) else ():
                if isinstance(variable, dict) and isinstance(variable.get("default"), str):
                    url = url.replace(f"{{{name}}}", variable["default"])
            return url.rstrip("/")
    return ""


def _signed(security: Any, root: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether credentials are asked for, and why the connector cannot give them: it sends `Authorization`."""
    options = (
        [option for option in security if isinstance(option, dict)] if isinstance(security, list) else []
    )
    if not options or {} in options:
        return False, ""
    components = root.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    why = ""
    for option in options:
        why = ""
        for name in option:
            scheme = arguments.resolved(schemes.get(name) if isinstance(schemes, dict) else None, root)
            carried = scheme.get("type") != "apiKey" or (
                scheme.get("in") == "header" and str(scheme.get("name")).lower() == "authorization"
            )
            if not carried:
                why = f"its credential {one_line(name, 60)} does not travel in Authorization"
        if not why:
            break
    return True, why


# --- drafting ---------------------------------------------------------------------------------------------


def draft_operation(topic: str, operation: Operation, root: Any, api: str) -> DraftAction:
    """The entry of one operation."""
    wire = _travels(operation, root)
    taken = Arguments(None) if wire.unreadable else arguments.declare(wire.found)
    execute, why_not = _execute(operation, wire, taken, api)
    base = _TIERS[operation.method]
    drafted = entries.entry(
        topic,
        operation.name,
        taken,
        reads=base == 1,
        known=Evidence(base, f"{operation.method.upper()} {_DOES[base]}", _TAGS[base]),
        speaks_of=" ".join((operation.name, operation.path, *operation.tags)),
        execute=execute,
        facts=(f"{operation.method.upper()} {one_line(operation.path, 200)}",),
        quotes=(operation.told,),
    )
    reviews = [*drafted.reviews, *wire.reviews]
    if why_not:
        reviews.append(f"nothing executes it: {why_not}")
    if wire.unsent:
        reviews.append(f"optional and not sent, so not declared: {', '.join(wire.unsent)}")
    return replace(drafted, reviews=tuple(reviews))


def _travels(operation: Operation, root: Any) -> _Wire:
    wire = _Wire(obstacles=[operation.unsigned] if operation.unsigned else [])
    sends_body = operation.method in _BODY
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        shown = one_line(name, 60)
        needed = place == "path" or parameter.get("required") is True
        if place == "path" or (place == "query" and needed):
            arg = replace(arguments.from_property(name, parameter.get("schema"), root), optional=False)
            wire.found.append((name, arg, True))
            if arg.kind not in _SCALARS:
                wire.obstacles.append(f"{shown} is an {arg.kind} and stands in the URL")
            if place == "query":
                wire.query.append(name)
        elif needed:
            wire.obstacles.append(
                f"it needs the {one_line(place, 20)} {shown}, which the connector does not send"
            )
        else:
            wire.unsent.append(shown)
    if operation.body is None or not sends_body:
        return wire
    body = _json_body(operation.body, root)
    if body is None:
        wire.obstacles.append("its body is not JSON")
        wire.unreadable = True
        return wire
    inner = arguments.from_schema(body, root)
    if inner.args is None:
        wire.obstacles += inner.reviews
        wire.unreadable = True
        return wire
    if wire.found:
        wire.reviews.append(
            f"the body carries {', '.join(one_line(n, 60) for n, _, _ in wire.found)} as well"
        )
    taken = {name: _accepted(arg) for name, arg, _ in wire.found}
    wire.found += [
        (arg.name, arg, not arg.optional) for arg in inner.args if taken.get(arg.name) != _accepted(arg)
    ]
    return wire


def _accepted(arg: DraftArg) -> tuple[Any, ...]:
    """Which values an argument takes, apart from their length and whether it is needed."""
    return arg.kind, arg.scale, arg.currency


def _json_body(body: Any, root: Any) -> Any:
    """The schema of a JSON body; None where there is none."""
    content = arguments.resolved(body, root).get("content")
    for media, found in content.items() if isinstance(content, dict) else ():
        kind = media.partition(";")[0].strip().lower()
        if (kind == "application/json" or kind.endswith("+json")) and isinstance(found, dict):
            return found.get("schema", {})
    return None


def _execute(
    operation: Operation, wire: _Wire, taken: Arguments, api: str
) -> tuple[dict[str, Any] | None, str]:
    """How the connector runs it, or why it cannot."""
    if taken.args is None or wire.obstacles:
        return None, "; ".join(wire.obstacles or taken.reviews)
    in_path = _IN_PATH.findall(operation.path)
    needed = {arg.name for arg in taken.args if not arg.optional}
    if not needed.issuperset(in_path):
        return None, f"the path {one_line(operation.path, 100)} names what is no needed parameter"
    path = _IN_PATH.sub(r"{args.\1}", operation.path)
    query = "&".join(f"{name}={{args.{name}}}" for name in wire.query)
    url = f"{operation.server}{path}{'?' if query else ''}{query}"
    try:
        check_address(url)
    except ValueError as error:
        return None, f"{one_line(operation.server, 100) or 'no server'}: {error}"
    http: dict[str, Any] = {"method": operation.method.upper(), "url": url}
    if operation.signed:
        http["auth"] = api
    return {"http": http}, ""
