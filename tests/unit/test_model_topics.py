"""Topics: ASCII names that are refused, never normalised, and patterns that match whole segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.model.errors import BadTopic
from interlock.model.topics import TopicPattern, parse_topic

_SEGMENT = st.text("abz09_-", min_size=1, max_size=4)
_TOPIC = st.lists(_SEGMENT, min_size=2, max_size=16).map(".".join)


@given(_TOPIC)
def test_a_well_formed_topic_is_returned_unchanged(topic: str) -> None:
    assert parse_topic(topic) == topic


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("job.pаyments.refund", "CYRILLIC SMALL LETTER A"),
        ("job.paymentѕ.refund", "CYRILLIC SMALL LETTER DZE"),
        ("job.pay\u200bments", "ZERO WIDTH SPACE"),
        ("job。payments", "IDEOGRAPHIC FULL STOP"),
        ("ｊob.payments", "FULLWIDTH LATIN SMALL LETTER J"),
        ("job.payments٣", "ARABIC-INDIC DIGIT THREE"),
    ],
)
def test_a_look_alike_is_refused_and_named(topic: str, says: str) -> None:
    with pytest.raises(BadTopic) as caught:
        parse_topic(topic)
    assert says in caught.value.detail


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "job",
        ".job.x",
        "job.x.",
        "job..x",
        "Job.x",
        "job.x y",
        "job.x\n",
        "job.x\x00",
        "job.*",
        "job/x.y",
        ".".join("a" * 17),
        "a." + "b" * 254,
        None,
        7,
        b"job.x",
    ],
)
def test_what_is_no_topic_is_refused(topic: object) -> None:
    with pytest.raises(BadTopic):
        parse_topic(topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("job.*.read", "job.a.read", True),
        ("job.*.read", "job.a.b.evil.read", False),
        ("job.*", "job.a.b", False),
        ("job.**", "job.a.b.c", True),
        ("job.**", "jobs.a", False),
        ("job.pay", "job.pays", False),
        ("*", "job.pay", True),
        ("job.pay.**", "job.pay", True),
        ("job.pay.*", "job.pay", False),
    ],
)
def test_a_star_is_one_segment_and_a_final_double_star_any_number(
    pattern: str, topic: str, matches: bool
) -> None:
    assert TopicPattern.parse(pattern).matches(topic) is matches


@pytest.mark.parametrize(
    "pattern", ["", "job.", "job.pa*", "**.job", "job.**.x", "job.?", "jоb.x", "job.[ab]", "a." * 16 + "b"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadTopic):
        TopicPattern.parse(pattern)


@given(_TOPIC)
def test_a_topic_as_a_pattern_matches_itself_and_nothing_beside_it(topic: str) -> None:
    pattern = TopicPattern.parse(topic)
    assert pattern.exact
    assert pattern.matches(topic)
    assert not pattern.matches(topic + "x")
    assert not pattern.matches(topic + ".x")
