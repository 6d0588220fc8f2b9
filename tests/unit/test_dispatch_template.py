"""URL templates: an argument fills one segment or one query value and changes nothing else."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.dispatch.template import MAX_URL, render_url
from interlock.model.errors import InvalidInput, MissingField, WrongType

TEMPLATE = "https://payments.internal:8443/orders/{args.order_id}/refunds?note={args.note}&n={args.n}"


def test_values_fill_segments_and_query_values() -> None:
    url = render_url(TEMPLATE, {"order_id": "A-12", "note": "a&b=c #1?é", "n": 3, "unused": []})
    assert url == "https://payments.internal:8443/orders/A-12/refunds?note=a%26b%3Dc%20%231%3F%C3%A9&n=3"


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (-7, "-7"), (19.5, "19.5"), (1e-7, "1e-7")])
def test_numbers_and_booleans_read_as_in_canonical_json(value: object, text: str) -> None:
    assert render_url("http://h/{args.x}", {"x": value}) == f"http://h/{text}"  # type: ignore[dict-item]


def test_a_value_may_be_part_of_a_segment() -> None:
    assert render_url("http://h/v1-{args.a}{args.b}.json", {"a": "x", "b": "y"}) == "http://h/v1-xy.json"


def test_a_query_may_follow_the_host_directly() -> None:
    assert render_url("http://h?x={args.x}", {"x": "1"}) == "http://h?x=1"


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "../admin",
        "a/b",
        "a\\b",
        "a\nb",
        "a\x00",
        "\x7f",
        "\x85",
        "a\u2028b",
        "\ud800",
        "%2e%2E",
        "a%2Fb",
        "a%5cb",
        "%0d%0aHost: evil",
        "\u2025",
        "a\uff0fb",
        "a\uff3cb",
    ],
)
def test_what_could_leave_its_segment_is_refused_and_not_repeated(value: str) -> None:
    for template in ("http://h/a/{args.x}/b", "http://h/a?q={args.x}"):
        with pytest.raises(InvalidInput) as caught:
            render_url(template, {"x": value})
        assert caught.value.path == "$.args.x"
        if len(value) > 2:
            assert value not in caught.value.detail


@pytest.mark.parametrize("value", [None, [], ["a"], {}, {"a": "b"}])
def test_only_scalars_stand_in_a_url(value: object) -> None:
    with pytest.raises(WrongType) as caught:
        render_url("http://h/{args.x}", {"x": value})  # type: ignore[dict-item]
    assert caught.value.path == "$.args.x"


def test_a_missing_argument_is_an_error_and_not_an_empty_segment() -> None:
    with pytest.raises(MissingField) as caught:
        render_url("http://h/orders/{args.order_id}", {})
    assert caught.value.path == "$.args.order_id"


@pytest.mark.parametrize(
    "template",
    [
        "https://{args.x}/a",
        "https://h{args.x}/a",
        "https://h:{args.x}/a",
        "{args.x}://h/a",
        "{args.x}",
        "https://{args.x}@h/a",
        "https://user:word@h/a",
        "https://h\\@evil/a",
        "https://h%2eevil/a",
        "https://h/a#{args.x}",
        "https://h/{x}",
        "https://h/{args.x.y}",
        "https://h/{args.x!r}",
        "https://h/{{args.x}}",
        "https://h/{args.x",
        "https://h/a b",
        "https://h/a\n",
        "https://h/\u00e9",
        "https:///a",
        "//h/a",
        "/a",
        "ftp://h/a",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_template_with_a_templated_authority_or_stray_braces_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        render_url(template, {"x": "evil"})
    assert caught.value.path == "execute.http.url"


def test_a_url_too_long_to_be_answered_is_refused() -> None:
    with pytest.raises(InvalidInput, match="characters"):
        render_url("http://h/{args.x}", {"x": "a" * MAX_URL})


@settings(max_examples=300)
@given(st.text(max_size=12) | st.text(alphabet="./\\%2eEfF5c?#&=;:@ ", max_size=8))
def test_any_text_is_refused_or_stays_one_segment_of_the_same_host(value: str) -> None:
    try:
        text = render_url("http://host.example:81/a/{args.x}/b?q={args.x}&r=1", {"x": value})
    except InvalidInput:
        return
    url = httpx.URL(text)
    assert (url.scheme, url.host, url.port, url.fragment) == ("http", "host.example", 81, "")
    path, _, query = url.raw_path.decode("ascii").partition("?")
    empty, first, middle, last = path.split("/")
    assert (empty, first, last) == ("", "a", "b")
    assert unquote(middle) == value
    assert query == f"q={middle}&r=1"
