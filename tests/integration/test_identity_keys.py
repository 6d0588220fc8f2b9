"""Keys, people, links and sessions: a secret works once it is made, and stops when it should."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from house import POLICY, House, ManualClock
from interlock.identity import Caller, KeyKind, Role
from interlock.identity.people import LINK_US, SESSION_US
from interlock.model.errors import (
    Conflict,
    Forbidden,
    InterlockError,
    InvalidInput,
    NotFound,
    OutOfScope,
    Tampered,
    Unauthenticated,
)


def key(house: House, kind: KeyKind = KeyKind.AGENT, **rest: object) -> tuple[str, str]:
    made, token = house.home.keyring.add(
        kind,
        "support",
        **{"topics": ["pay.**"], "by": "test", **rest},  # type: ignore[arg-type]
    )
    return made.id, token


def test_a_key_is_recognised_by_its_whole_token_only(house: House) -> None:
    identifier, token = key(house)
    caller = house.home.keyring.authenticate(token)
    assert (caller.kind, caller.key_id, caller.agent) == (KeyKind.AGENT, identifier, "support")
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    wrong = [
        "",
        token[:-1],
        token + "A",
        token + "\n",
        " " + token,
        flipped,
        token.replace("agent", "adapter"),
        token.replace("agent", "person"),
        token.partition(".")[0],
        token.partition(".")[0] + "." + "A" * 43,
        "ilk_agent_" + "0" * 32 + "." + "A" * 43,
        "é" * 90,
        "x" * 100_000,
    ]
    for presented in wrong:
        with pytest.raises(Unauthenticated):
            house.home.keyring.authenticate(presented)


def test_missing_unknown_and_revoked_are_told_apart_by_nobody(house: House) -> None:
    identifier, token = key(house)
    house.home.keyring.revoke(identifier, by="test")
    messages = set()
    for presented in ("", token, token.replace(identifier[4:], "0" * 32)):
        with pytest.raises(Unauthenticated) as caught:
            house.home.keyring.authenticate(presented)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_revoked_key_is_worthless_at_once_in_every_process(
    house: House, open_house: Callable[..., House]
) -> None:
    identifier, token = key(house)
    other = open_house(None)
    other.home.keyring.authenticate(token)
    house.home.keyring.revoke(identifier, by="test")
    with pytest.raises(Unauthenticated):
        other.home.keyring.authenticate(token)
    with pytest.raises(Conflict):
        house.home.keyring.revoke(identifier, by="test")
    with pytest.raises(NotFound):
        house.home.keyring.revoke("key_0", by="test")


def test_a_key_expires_and_stays_expired_when_the_clock_goes_back(house: House, clock: ManualClock) -> None:
    _, token = key(house, lifetime_sec=60)
    clock.forward(59)
    house.home.keyring.authenticate(token)
    clock.forward(1)
    with pytest.raises(Unauthenticated):
        house.home.keyring.authenticate(token)
    house.held()
    clock.forward(-60)
    with pytest.raises(Unauthenticated):
        house.home.keyring.authenticate(token)


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (KeyKind.AGENT, {"topics": []}),
        (KeyKind.ADAPTER, {"topics": []}),
        (KeyKind.EXECUTOR, {"topics": []}),
        (KeyKind.AGENT, {"topics": ["pay.*", "Pay"]}),
        (KeyKind.PERSON, {}),
        (KeyKind.PERSON, {"topics": []}),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(house: House, kind: KeyKind, rest: dict[str, object]) -> None:
    before = house.entries()
    with pytest.raises(InvalidInput):
        key(house, kind, **rest)
    assert house.entries() == before


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 81, "pаy"])
def test_a_key_has_a_plain_name(house: House, name: str) -> None:
    with pytest.raises(InvalidInput):
        house.home.keyring.add(KeyKind.AGENT, name, topics=["a.b"], by="test")


def test_what_a_key_may_propose_is_its_scope_and_its_kind(house: House) -> None:
    agent, executor = (
        house.home.keyring.authenticate(key(house, k)[1]) for k in (KeyKind.AGENT, KeyKind.EXECUTOR)
    )
    assert agent.check_topic("pay.refund") == "support"
    with pytest.raises(OutOfScope):
        agent.check_topic("account.delete")
    with pytest.raises(Forbidden):
        executor.check_topic("pay.refund")
    with pytest.raises(Forbidden):
        house.person("Ann").caller.check_topic("pay.refund")


def test_only_persons_and_the_proposer_see_an_action(house: House) -> None:
    action = house.held()
    stranger = house.home.keyring.authenticate(key(house, KeyKind.EXECUTOR)[1])
    with pytest.raises(InterlockError):
        house.view(action, stranger)
    assert house.view(action, house.person("Ann").caller)["id"] == action


def test_a_person_key_speaks_for_the_enrolled_person_with_todays_roles(house: House) -> None:
    ann = house.person("Ann", Role.REVIEWER)
    _, token = house.home.keyring.add(KeyKind.PERSON, "laptop", person=ann, by="test")
    caller = house.home.keyring.authenticate(token)
    assert (caller.person, caller.roles) == (ann.id, frozenset({Role.REVIEWER}))
    house.sql("DELETE FROM people")
    with pytest.raises(Unauthenticated):
        house.home.keyring.authenticate(token)


def test_the_database_holds_no_token_and_a_row_of_another_home_is_worth_nothing(
    house: House, open_house: Callable[..., House]
) -> None:
    _, token = key(house)
    other = open_house(POLICY, name="other")
    (row,) = house.sql("SELECT * FROM keys")
    other.sql(f"INSERT INTO keys VALUES ({','.join('?' * len(row))})", *row)
    with pytest.raises((Tampered, Unauthenticated)):
        other.home.keyring.authenticate(token)


def test_every_key_and_person_is_an_entry_and_no_entry_holds_a_secret(house: House) -> None:
    ann = house.person("Ann")
    identifier, token = key(house, person=ann)
    house.home.keyring.revoke(identifier, by="test")
    text = "\n".join(house.entries())
    for kind in ("person.added", "key.added", "key.revoked"):
        assert f'"kind":"{kind}"' in text
    assert token.partition(".")[2] not in text
    assert "Ann" not in text


# --- people, links, sessions ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b", "a\u202eb"])
def test_a_person_has_a_name_one_can_read(house: House, name: str) -> None:
    with pytest.raises(InvalidInput):
        house.person(name)


def test_two_people_do_not_share_a_name(house: House) -> None:
    house.person("Ann")
    with pytest.raises(InvalidInput):
        house.person("Ann")


def test_the_first_person_is_enrolled_once_however_many_ask(house: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        firsts = list(pool.map(lambda n: house.home.roster.first(f"P{n}", by="test").id, range(8)))
    assert len(set(firsts)) == 1
    assert len(house.home.roster.all()) == 1


def test_a_link_signs_in_once(house: House) -> None:
    ann = house.person("Ann")
    link = house.home.roster.issue_link(ann)
    session, person = house.home.roster.redeem(link)
    assert (person.id, house.home.roster.signed_in(session).id) == (ann.id, ann.id)
    with pytest.raises(Unauthenticated):
        house.home.roster.redeem(link)


def test_of_sixteen_who_redeem_one_link_one_gets_in(house: House) -> None:
    link = house.home.roster.issue_link(house.person("Ann"))

    def redeem(_: int) -> bool:
        try:
            house.home.roster.redeem(link)
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(redeem, range(16))) == 1


def test_a_link_lasts_an_hour_and_a_session_twelve(house: House, clock: ManualClock) -> None:
    roster, ann = house.home.roster, house.person("Ann")
    link = roster.issue_link(ann)
    late = roster.issue_link(ann)
    clock.forward(LINK_US / 1e6 - 1)
    session, _ = roster.redeem(link)
    clock.forward(1)
    with pytest.raises(Unauthenticated):
        roster.redeem(late)
    clock.forward(SESSION_US / 1e6 - 2)
    roster.signed_in(session)
    clock.forward(1)
    with pytest.raises(Unauthenticated):
        roster.signed_in(session)


def test_signing_out_ends_the_session_and_no_link_or_key_is_a_session(house: House) -> None:
    roster, ann = house.home.roster, house.person("Ann")
    link = roster.issue_link(ann)
    session, _ = roster.redeem(link)
    _, token = key(house)
    roster.sign_out(session)
    for presented in (session, link, token, "", "prc_0.x", "x" * 1000, session + "x", "é" * 40):
        with pytest.raises(Unauthenticated):
            roster.signed_in(presented)
    for presented in (session, token, "", "lnk_0.x", "é" * 40):
        with pytest.raises(Unauthenticated):
            roster.redeem(presented)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("links", "redeemed_at", None),
        ("links", "expires_at", 2**60),
        ("console_sessions", "expires_at", 2**60),
    ],
)
def test_no_link_or_session_can_be_prolonged_in_the_file(
    house: House, clock: ManualClock, table: str, column: str, value: int | None
) -> None:
    roster, ann = house.home.roster, house.person("Ann")
    used, unused = roster.issue_link(ann), roster.issue_link(ann)
    session, _ = roster.redeem(used)
    if column == "expires_at":
        clock.forward(48 * 3600)
    house.sql(f"UPDATE {table} SET {column} = ?", value)
    attempts = {"links": (roster.redeem, used if column == "redeemed_at" else unused)}
    act, presented = attempts.get(table, (roster.signed_in, session))
    with pytest.raises((Tampered, Unauthenticated)):
        act(presented)


def test_a_caller_is_nobody_by_default() -> None:
    nobody = Caller(KeyKind.PERSON)
    with pytest.raises(Forbidden):
        nobody.check_role(Role.REVIEWER)
    with pytest.raises(Forbidden):
        nobody.check_topic("a.b")
