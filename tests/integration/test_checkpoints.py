"""Agent state: what an agent kept with its proposal comes back to that agent, and reaches nobody else."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator

import pytest
from erasing import erase

from house import BOTH, House, ManualClock, agent
from interlock.gate import Answer, Report
from interlock.gate.checkpoints import MAX_BYTES
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Erased, Forbidden, NotFound, Tampered, TooLarge, Unauthenticated
from interlock.model.topics import TopicPattern
from server_desk import Desk, refused, staffed

DATABASES = BOTH
STATE = b"\x00the plan: zanzibar\xff"


def test_the_agent_gets_back_what_it_kept_in_every_state(house: House) -> None:
    action = house.held(checkpoint=STATE)
    assert house.gate.checkpoint(action, agent()).content == STATE
    house.answer(action, house.person("Ann"))
    assert house.gate.checkpoint(action, agent()).state == "approved"
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    assert house.gate.checkpoint(action, agent()).content == STATE
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "done"))
    ended = house.gate.checkpoint(action, agent())
    assert (ended.state, ended.content) == ("succeeded", STATE)


def test_an_edit_keeps_the_checkpoint(house: House) -> None:
    action = house.held(checkpoint=STATE)
    args = {"order_id": "A-12", "amount_usd": "200.00", "recipient": "acme"}
    house.answer(action, house.person("Ann"), Answer.EDIT, args=args)
    assert house.view(action)["revision"] == 2
    assert house.gate.checkpoint(action, agent()).content == STATE


def test_a_proposal_without_one_has_none(house: House) -> None:
    assert house.gate.checkpoint(house.held(), agent()).content is None


def test_nobody_but_its_agent_gets_a_checkpoint(house: House) -> None:
    action = house.held(checkpoint=STATE)
    narrow = Caller(KeyKind.AGENT, agent="support", topics=(TopicPattern.parse("orders.*"),))
    executor = Caller(KeyKind.EXECUTOR, executor="support", topics=(TopicPattern.parse("*"),))
    for caller in (agent("other"), narrow, executor):
        with pytest.raises(NotFound):
            house.gate.checkpoint(action, caller)
    with pytest.raises(Forbidden):
        house.gate.checkpoint(action, house.person("Ann").caller)


def test_a_revoked_key_gets_nothing(house: House) -> None:
    key, token = house.home.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="test")
    caller = house.home.keyring.authenticate(token)
    action = house.held(checkpoint=STATE, caller=caller)
    assert house.gate.checkpoint(action, caller).content == STATE
    house.home.keyring.revoke(key.id, by="test")
    with pytest.raises(Unauthenticated):
        house.gate.checkpoint(action, caller)


def test_a_repetition_neither_replaces_the_checkpoint_nor_conflicts(house: House) -> None:
    action = house.held(checkpoint=STATE, idempotency_key="k")
    repeated = house.propose(checkpoint=b"another plan", idempotency_key="k")
    assert (repeated.created, repeated.action and repeated.action.id) == (False, action)
    assert house.gate.checkpoint(action, agent()).content == STATE
    house.propose(idempotency_key="k")
    assert house.gate.checkpoint(action, agent()).content == STATE


def test_a_first_proposal_without_one_is_not_given_one_later(house: House) -> None:
    action = house.held(idempotency_key="k")
    house.propose(checkpoint=STATE, idempotency_key="k")
    assert house.gate.checkpoint(action, agent()).content is None


def test_a_checkpoint_is_a_mebibyte_at_most_and_is_kept_whole(house: House) -> None:
    most = os.urandom(MAX_BYTES)
    assert house.gate.checkpoint(house.held(checkpoint=most), agent()).content == most
    size = len(house.entries())
    with pytest.raises(TooLarge, match="checkpoint"):
        house.propose(checkpoint=most + b"x", idempotency_key="other")
    assert len(house.entries()) == size
    empty = house.held(checkpoint=b"", idempotency_key="empty")
    assert house.gate.checkpoint(empty, agent()).content == b""


def test_erasing_the_subject_erases_the_checkpoint(house: House) -> None:
    action = house.held(checkpoint=STATE, principal="zoe@example.com")
    house.gate.withdraw(action, agent())
    assert house.gate.checkpoint(action, agent()).content == STATE
    erase(house, "zoe@example.com")
    with pytest.raises(Erased):
        house.gate.checkpoint(action, agent())


def test_a_checkpoint_that_was_swapped_for_another_actions_is_refused(house: House) -> None:
    one = house.held(checkpoint=STATE)
    other = house.held(checkpoint=b"pay twice", idempotency_key="other")
    number, digest, mac = house.sql("SELECT payload, hash, mac FROM checkpoints WHERE action_id = ?", other)[
        0
    ]
    house.sql("UPDATE checkpoints SET payload = ?, hash = ? WHERE action_id = ?", number, digest, one)
    with pytest.raises(Tampered):
        house.gate.checkpoint(one, agent())
    house.sql("UPDATE checkpoints SET mac = ? WHERE action_id = ?", bytes(mac), one)
    with pytest.raises(Tampered):
        house.gate.checkpoint(one, agent())


def test_a_sealed_checkpoint_that_was_replaced_is_refused(house: House) -> None:
    action = house.held(checkpoint=STATE)
    found = house.sql("SELECT payload FROM checkpoints")[0][0]
    start = house.sql("SELECT start FROM head")[0][0]
    sealed = house.sql("SELECT sealed FROM payloads WHERE seq = ?", start + found + 1)[0][0]
    house.sql("UPDATE payloads SET sealed = ? WHERE seq = ?", bytes(sealed), start + found)
    with pytest.raises(Tampered):
        house.gate.checkpoint(action, agent())


def test_reviewers_views_entries_and_database_hold_nothing_of_it(house: House, clock: ManualClock) -> None:
    action = house.held(checkpoint=STATE)
    ann = house.person("Ann")
    approval = house.request(action)[0]
    seen = [
        house.view(action),
        house.view(action, ann.caller),
        house.home.views.approval(approval, ann.caller, house.gate.policy),
        house.home.views.approvals("held"),
        house.home.views.actions(ActionState.HELD),
        house.entries(),
    ]
    text = json.dumps(seen)
    for form in ("zanzibar", base64.b64encode(STATE).decode(), STATE.hex(), "checkpoint"):
        assert form not in text
    sealed = b"".join(bytes(row[0]) for row in house.sql("SELECT sealed FROM payloads"))
    assert b"zanzibar" not in sealed


def test_a_checkpoint_changes_neither_the_hash_nor_what_is_reviewed(
    open_house: Callable[..., House], clock: ManualClock
) -> None:
    house = open_house(clock=clock)
    plain = house.view(house.held(idempotency_key="a"))
    kept = house.view(house.held(idempotency_key="b", checkpoint=STATE))
    differing = {name for name in plain if plain[name] != kept[name]}
    assert differing <= {"id", "action_hash", "approval", "user_message"}


# --- over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("checkpoints")) as running:
        yield running


def body(**more: object) -> dict[str, object]:
    args = {"order_id": os.urandom(4).hex(), "amount_usd": "200.00", "recipient": "acme"}
    return {"topic": "desk.refunds.create", "args": args, **more}


def test_over_http_it_comes_back_to_its_agent_alone(desk: Desk) -> None:
    action = desk.refund(checkpoint=base64.b64encode(STATE).decode())
    path = f"/v1/actions/{action['id']}/checkpoint"
    assert desk.of("agent").get(path).json() == {
        "id": action["id"],
        "state": "held",
        "checkpoint": base64.b64encode(STATE).decode(),
    }
    refused(desk.of("other-agent").get(path), 404, "not-found")
    refused(desk.of("executor").get(path), 404, "not-found")
    refused(desk.of("Ben").get(path), 403, "forbidden")
    refused(desk.client().get(path), 401, "unauthenticated")
    assert desk.of("agent").get(f"/v1/actions/{desk.refund()['id']}/checkpoint").json()["checkpoint"] is None
    assert "zanzibar" not in desk.server.log.read_text()


def test_the_largest_checkpoint_fits_into_a_proposal_and_one_byte_more_does_not(desk: Desk) -> None:
    most = base64.b64encode(os.urandom(MAX_BYTES)).decode()
    answer = desk.of("agent").post("/v1/actions", json=body(checkpoint=most))
    assert answer.status_code == 202
    path = f"/v1/actions/{answer.json()['id']}/checkpoint"
    assert desk.of("agent").get(path).json()["checkpoint"] == most
    over = base64.b64encode(bytes(MAX_BYTES + 1)).decode()
    refused(
        desk.of("agent").post("/v1/actions", json=body(checkpoint=over)), 413, "too-large", "$.checkpoint"
    )
    huge = base64.b64encode(bytes(2 * MAX_BYTES)).decode()
    refused(desk.of("agent").post("/v1/actions", json=body(checkpoint=huge)), 413, "too-large")


def test_the_room_for_a_checkpoint_is_room_for_nothing_else(desk: Desk) -> None:
    before = desk.footprint()
    for more in (
        {"reasoning": "r" * (MAX_BYTES + 1), "checkpoint": ""},
        {"checkpoint": "", "reasoning": "r" * (MAX_BYTES + 1)},
        {"reasoning": "r" * (MAX_BYTES + 1)},
    ):
        refused(desk.of("agent").post("/v1/actions", json=body(**more)), 413, "too-large")
    assert desk.footprint() == before


@pytest.mark.parametrize("given", ["!", "AAA", "AA==\n", "QQ", 7, ["QQ=="], "é"])
def test_what_is_no_base64_is_refused(desk: Desk, given: object) -> None:
    answer = desk.of("agent").post("/v1/actions", json=body(checkpoint=given))
    slug = "invalid-input" if isinstance(given, str) else "wrong-type"
    refused(answer, 422, slug, "$.checkpoint")
