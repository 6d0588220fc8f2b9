"""Kernel 1 gives the digests that it gave when these questions were recorded, for ever.

A digest here that no longer comes out means that logs written before no longer replay. Then the change is a
new kernel (see `interlock.replay.kernels`), or it is undone; the digests below are never brought up to date.
"""

from __future__ import annotations

from typing import Any

import pytest

from interlock.ledger.entries import KERNEL
from interlock.model.binding import verdict_digest
from interlock.policy import parse
from interlock.replay.kernels import KERNELS

TEXT = """
interlock: 1
name: recorded
default_decision: deny
owners: [security-approvers, finance, ops-approvers]
actions:
  pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 1000}]
    risk_tags: [money]
    args: {amount_usd: {type: decimal, scale: 2, currency: USD}, to: {type: string, optional: true}}
    roles: {amount: amount_usd, recipient: to}
  notes.read: {tier: 1}
  notes.add: {tier: 2, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  disk.wipe: {tier: 4}
  disk.clean: {tier: 3, risk_tags: [delete]}
  mail.send: {tier: 3, risk_tags: [external-comms]}
  host.deploy: {tier: 3, risk_tags: [deploy, prod]}
  role.grant: {tier: 3, risk_tags: [privilege]}
  job.run: {tier: 2}
facts: {prior: integer}
autonomy_levels:
  level_0: {name: supervised, rules: [{match: {topics: [notes.add]}, decision: require_approval}]}
  level_2: {name: trusted, rules: [{match: {topics: [notes.**]}, decision: allow}]}
lanes: {fast: {window: 15m, on_timeout: deny, valid: 10m}}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100 && facts.prior < 3, decision: allow}
  - {id: large, match: {topics: [pay.refund]}, when: args.amount_usd >= 100, decision: require_approval, owner: finance, lane: fast}
  - {id: cap, match: {topics: [notes.drop]}, decision: allow_with_constraints, constraints: {max_runtime_sec: 5}}
  - {id: never, match: {topics: [notes.drop]}, when: "args.force", decision: deny, reason: By force}
  - {id: tools, match: {topics: [tool.*]}, decision: allow}
  - {id: free, match: {topics: [mail.send, host.deploy, role.grant, disk.*]}, decision: allow}
"""  # noqa: E501
DOUBT = TEXT.replace("facts:", "triggers: {confidence: {floor: 0.5}}\nfacts:")
WATCH = TEXT.replace("name: recorded", "name: recorded\nmode: observe")
SNAPSHOTS = {
    TEXT: "v1:303196e3af1408e7833bee97b55df7c0a751b4f0957516da9b9853c8d9244f1e",
    WATCH: "v1:56424d16d393b82a332c86e24c149110895a0c05b01b6cee5a9b7bb463c70efd",
    DOUBT: "v1:d12511ad76eb0482d8b027efe9556beeefc6d9e9e441c804bd39806593b8104e",
}


def asked(topic: str, args: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {"v": 1, "topic": topic, "args": args or {}, "tags": None, **rest}


RECORDED = [
    (TEXT, asked("notes.read"), "e0be5f51bc38589b1b6d6f67b947e43689e45e69cac0a354e9f45818ee2aa663"),
    (TEXT, asked("notes.add"), "e3acbe6f248bbcfbafad312b90eddfb249fb084bc314c25e456551444c77e799"),
    (TEXT, asked("notes.add", level=2), "412b01ca6c68bd3c19651c491c6fc59e8d21e5d11ec1b93fb6c898a1bad5650d"),
    (
        TEXT,
        asked("notes.drop", {"force": False}),
        "d22f3d309deb989e02b5feb341bcfe983c6ecd5a00ccf2051e61f3b22cd082f7",
    ),
    (
        TEXT,
        asked("notes.drop", {"force": True}),
        "4f9a62f5c15cce33f98226a99ebb50a59ab9aabbd396b4d2bbce761767349b8a",
    ),
    (TEXT, asked("notes.drop"), "ac219321db39806116b364f0b2c613aba2af1f671058f78c6fea3b7893b43d95"),
    (
        TEXT,
        asked("pay.refund", {"amount_usd": "5.00"}, facts={"prior": 1}),
        "7a70f608c6292ec5841c068244ac4a97c7ee7a8d5603a7f716c604bbe70b39be",
    ),
    (
        TEXT,
        asked("pay.refund", {"amount_usd": "5.00"}),
        "6ca9ef68cccf34a314ec4b08289deeae9aa2cb6edf4867c25d1d4b7a55cf4a04",
    ),
    (
        TEXT,
        asked("pay.refund", {"amount_usd": "500.00"}, facts={"prior": 1}),
        "12c6608d24dd5111293d4a7c3c5973726d4812dd50aada9e127db523ab909480",
    ),
    (
        TEXT,
        asked("pay.refund", {"amount_usd": "5000.00"}),
        "c0123dc63496e1104b5b0caf537bcb2eea5984ff6c9365f267b6d2f8730211f0",
    ),
    (TEXT, asked("disk.wipe"), "9f0e1cecf5e13f59680d3c364eea18d94ead3e6764191ecd3697f88cda41f1f9"),
    (TEXT, asked("disk.clean"), "75b3f561e98c17235080441f58aca31878870e2e98e9883ce108fc2746b0d2e8"),
    (TEXT, asked("mail.send"), "dea2be0c15b495a0d198c53a6954b8dccc57f84f6ec610b379e2477d6756d7c7"),
    (TEXT, asked("host.deploy"), "bd62b266ff1d052e4faedff926038d080da650a40d2d916dc1ed60f298b3890d"),
    (TEXT, asked("role.grant"), "c54d2bced7fc15da520e24c4d67a7f3868be2d8ef58c69715bfe65a2f7d45029"),
    (TEXT, asked("job.run"), "3c14e3197c365da9befa6aa863c0b950b9c63be0581f014170269d970d048075"),
    (DOUBT, asked("notes.read"), "7819f92cd565c03f228f47deeb3ced7ca26fae9e0e19e0034559549ef72731ca"),
    (
        DOUBT,
        asked("notes.read", signals={"confidence": "0.9"}),
        "4f5ffbd5cf27c8574203877807c0639960a0c70dc1d2655757b9ec86db64f6db",
    ),
    (
        DOUBT,
        asked("notes.read", signals={"confidence": "0.4"}),
        "b0f443a0885eeb22cc95579dabac5d7a0e6f6515b993996c2b0d7c8756ab34ef",
    ),
    (
        TEXT,
        asked("notes.read", signals={"retry_count": 9}),
        "e13485d32e2e1630a8441e208cf68f965e9b65c213fe92cc77f4eaa663bcae0e",
    ),
    (
        TEXT,
        asked("notes.read", signals={"sentiment": "-0.9"}),
        "e13485d32e2e1630a8441e208cf68f965e9b65c213fe92cc77f4eaa663bcae0e",
    ),
    (
        TEXT,
        asked("notes.read", signals={"deadline_sec": 5}),
        "05d17ef66272bf8fdd95c202fc01411539aeffb2e11f02eeb6355d22ed36aac3",
    ),
    (
        TEXT,
        asked("notes.read", signals={"anomaly_score": "0.99"}),
        "52b9ea9ecfd99d93518c55d11af2e5f9f56015a2550fbd734d771791d01b8e73",
    ),
    (
        TEXT,
        asked("notes.read", stopped="kil_1"),
        "cc67597384c32c9c3c4f4ed9ceb98559f8523274773d3608a92797c7e35f3c01",
    ),
    (TEXT, asked("tool.x", {"n": 1.5}), "b67a078b668c22df66050bab420f2ca01d84b4eb2e25ebad155967e49593eb98"),
    (TEXT, asked("other.x"), "64cb86be0db5e980cf04821f2f4ea47770805ece91c12ed1035ca91e62cf948f"),
    (
        TEXT,
        {**asked("tool.x"), "tags": ["delete", "prod"]},
        "7d8b1fbc8a62028071aee82ed3b22ed6d1da04becd75118198e84f34f5889e65",
    ),
    (
        TEXT,
        asked("pay.refund", {"amount_usd": "50.00", "to": "a"}, facts={"prior": 9}),
        "6ca9ef68cccf34a314ec4b08289deeae9aa2cb6edf4867c25d1d4b7a55cf4a04",
    ),
    (
        WATCH,
        asked("pay.refund", {"amount_usd": "500.00"}),
        "bba4d5a88f1640328ab7ec2b2edf57264adf69009ed55d9bb1b7688643159c73",
    ),
    (WATCH, asked("notes.read"), "581b8e641b78857aab6be6be281b993f470c610fd2c2a08a48b40baf781b8182"),
]


def test_the_kernel_that_entries_name_can_be_replayed() -> None:
    assert KERNEL in KERNELS


@pytest.mark.parametrize("text", SNAPSHOTS)
def test_a_policy_has_the_snapshot_it_had(text: str) -> None:
    assert parse({"p.yaml": text}).snapshot == SNAPSHOTS[text]


@pytest.mark.parametrize(("text", "document", "digest"), RECORDED)
def test_a_recorded_question_gets_the_verdict_it_got(
    text: str, document: dict[str, Any], digest: str
) -> None:
    ruling = KERNELS[1](parse({"p.yaml": text}).canonical())
    assert verdict_digest(ruling.decide(document)) == digest


def test_what_the_gate_held_is_held_in_the_same_words() -> None:
    ruling = KERNELS[1](parse({"p.yaml": TEXT}).canonical())
    was = ruling.decide(asked("pay.refund", {"amount_usd": "500.00"}, facts={"prior": 1}))
    now = ruling.decide(asked("pay.refund", {"amount_usd": "5.00"}, facts={"prior": 1}))
    low = ruling.decide(asked("notes.drop", {"force": False}))
    read = ruling.decide(asked("notes.read"))
    assert [
        verdict_digest(ruling.held_after_edit(now, was)),
        verdict_digest(ruling.held_as_stale(now, was)),
        verdict_digest(ruling.held_as_stale(low, read)),
    ] == HELD
    assert ruling.held_after_edit(was, now) is was
    assert ruling.held_as_stale(was, now) is was


HELD = [
    "a70807eb303176f23780b034e10580edd8310cc0e99d7647c11b74f01c476b1c",
    "13926966e6bf83687c8d82f84f78594807e550fa92072ad4df9de792f81f5076",
    "2918e7c95ad4270b9255aed493ff2292a8d7f2884bcc2c44080175edfffcafb1",
]


def test_the_recorded_questions_reach_every_part_of_a_policy() -> None:
    ruling = {text: KERNELS[1](parse({"p.yaml": text}).canonical()) for text in SNAPSHOTS}
    rules = {ruling[text].decide(document).rule for text, document, _ in RECORDED}
    starts = {rule.split(":")[0] for rule in rules}
    assert starts >= {"default", "level", "floor", "trigger", "invariant", "kill-switch", "small", "large"}
    assert sorted(rules) == RULES


RULES = [
    "cap",
    "default:tier-1",
    "default:tier-3",
    "default:uncatalogued",
    "floor:tier-4",
    "invariant:delete",
    "invariant:deploy",
    "invariant:external-comms",
    "invariant:privilege",
    "kill-switch:kil_1",
    "large",
    "level:0",
    "level:2",
    "never",
    "small",
    "tools",
    "trigger:anomaly",
    "trigger:confidence",
    "trigger:frustration",
    "trigger:irreversibility",
    "trigger:sla",
]
