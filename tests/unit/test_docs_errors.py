"""What the pages about errors and HTTP say is what the code does, both ways."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import interlock
from interlock.home import Home
from interlock.model.errors import InterlockError
from interlock.server import create_app

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `([a-z-]+)` \| (.+?) \| (\d{3}) \| (\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
HEADING = re.compile(r"^### `([A-Z]+) (/\S*)`$", re.MULTILINE)


def errors() -> list[type[InterlockError]]:
    """Every error with a name of its own; a class that has none is a family, and never raised itself."""
    for module in pkgutil.walk_packages(interlock.__path__, "interlock."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(error: type[InterlockError]) -> Iterator[type[InterlockError]]:
        yield error
        for narrower in error.__subclasses__():
            yield from below(narrower)

    return [
        found
        for found in dict.fromkeys(below(InterlockError))
        if found.__module__.startswith("interlock.") and "slug" in vars(found)
    ]


def rows() -> list[tuple[str, ...]]:
    return ROW.findall((DOCS / "errors.md").read_text(encoding="utf-8"))


def test_every_error_is_documented_as_it_is() -> None:
    documented = {row[0]: row[1:4] for row in rows()}
    raised = {e.slug: (e.title, str(e.status), str(e.exit_code)) for e in errors()}
    assert documented == raised


def test_no_two_errors_share_a_name() -> None:
    assert len({error.slug for error in errors()}) == len(errors())
    assert len({row[0] for row in rows()}) == len(rows())


def test_an_error_without_a_name_of_its_own_is_a_family_with_named_members() -> None:
    named = errors()
    for error in named:
        for base in error.__mro__:
            if issubclass(base, InterlockError) and "slug" not in vars(base):
                assert base not in named
                assert base.__subclasses__()


def test_every_row_says_when_and_what_to_do() -> None:
    for slug, _, _, _, when, do in rows():
        assert when.endswith("."), slug
        assert do.endswith("."), slug


def test_the_exit_codes_of_errors_are_explained() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    explained = {int(code) for code in re.findall(r"^\| (\d+) \| [^|]+ \|$", text, re.MULTILINE)}
    assert {error.exit_code for error in errors()} < explained


# --- docs/http.md ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    home = Home.open(tmp_path_factory.mktemp("docs") / "home")
    try:
        yield create_app(home).openapi()
    finally:
        home.close()


def sections() -> dict[tuple[str, str], str]:
    """The text below each endpoint's heading."""
    text = (DOCS / "http.md").read_text(encoding="utf-8")
    found = list(HEADING.finditer(text))
    ends = [heading.start() for heading in found[1:]] + [len(text)]
    return {
        (heading[1], heading[2]): re.split(r"^## ", text[heading.end() : end], flags=re.MULTILINE)[0]
        for heading, end in zip(found, ends, strict=True)
    }


def test_every_endpoint_is_documented_and_no_other(api: dict[str, Any]) -> None:
    served = {(method.upper(), path) for path, methods in api["paths"].items() for method in methods}
    assert set(sections()) == served


def test_every_field_of_every_body_is_documented_and_no_other(api: dict[str, Any]) -> None:
    for (method, path), text in sections().items():
        body = api["paths"][path][method.lower()].get("requestBody")
        known: dict[str, Any] = {}
        if body is not None:
            reference = body["content"]["application/json"]["schema"]["$ref"]
            known = api["components"]["schemas"][reference.rpartition("/")[2]]
        told = re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE)
        assert {name for name, _ in told} == set(known.get("properties", {})), path
        needed = {name for name, kind in told if kind.endswith("required")}
        assert needed == set(known.get("required", [])), path


def test_every_query_parameter_is_documented(api: dict[str, Any]) -> None:
    for (method, path), text in sections().items():
        for parameter in api["paths"][path][method.lower()].get("parameters", []):
            if parameter["in"] == "query":
                assert f"`{parameter['name']}`" in text, (path, parameter["name"])


def test_every_endpoint_has_an_example_that_calls_it() -> None:
    for (method, path), text in sections().items():
        pattern = re.escape(path).replace(r"\{action_id\}", "act_[0-9a-f]{32}")
        pattern = pattern.replace(r"\{approval_id\}", "apr_[0-9a-f]{32}")
        pattern = pattern.replace(r"\{kill_id\}", "kil_[0-9a-f]{32}")
        pattern = pattern.replace(r"\{session_id\}", "ses_[0-9a-f]{32}")
        pattern = pattern.replace(r"\{number\}", "[0-9]{3}").replace(r"\{path\}", r"[0-9a-z./]+")
        pattern = pattern.replace(r"\{name\}", r"[0-9a-f]{64}\.json")
        call = re.search(r"^    curl (?:.*\\\n)*.*$", text, re.MULTILINE)
        assert call is not None, path
        assert re.search(rf'\$INTERLOCK{pattern}(?=[?" \n]|$)', call[0]), path
        posts = "-X POST" in call[0] or " -d " in call[0]
        assert posts == (method == "POST"), path


def test_every_refusal_that_http_names_is_one_of_the_errors() -> None:
    names = {row[0] for row in rows()}
    for (_, path), text in sections().items():
        for line in re.findall(r"^Refusals: (.+)$", text, re.MULTILINE):
            assert set(re.findall(r"`([a-z-]+)`", line)) <= names, path
