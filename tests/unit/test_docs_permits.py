"""What the page about permits says is what the code does."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import interlock.permit
from interlock.model.binding import Binding
from interlock.permit import Claims, PermitError, PermitKey, jwks, mint
from interlock.policy import parse

PAGE = (Path(__file__).parents[2] / "docs" / "permits.md").read_text(encoding="utf-8")
ISSUER = "interlock.local/0123456789abcdef"
ARGS = {"amount_usd": "5.00", "order_id": "A-12"}
NONCE = bytes(32)


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def claims() -> Claims:
    policy = parse({"policy.yaml": block("yaml")})
    executor = {"kind": "permitted", "name": "shop-host"}
    entry = policy.entry("pay.refund")
    assert entry is not None
    assert entry.execute is not None
    assert entry.execute.to_json() == {"kind": "permitted", "executor": "shop-host", "offline": False}
    binding = Binding("default", "pay.refund", ARGS, "support", None, None, None, 1, executor)
    now = int(time.time())
    return Claims(
        ISSUER, "shop-host", "act_" + "1" * 32, "prm_" + "2" * 32, now, now + 120, binding.action_hash(NONCE),
        NONCE, "default", "pay.refund", "support", None, None, None, 1, policy.snapshot, 7, 3, False, {},
        "5" * 64,
    )  # fmt: skip


def test_the_policy_of_the_page_loads_without_warnings() -> None:
    assert parse({"policy.yaml": block("yaml")}).warnings == ()


def test_the_tool_of_the_page_pays_once_what_was_permitted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    key, said = PermitKey.generate(), claims()
    binding = Binding(
        "default",
        "pay.refund",
        ARGS,
        "support",
        None,
        None,
        None,
        1,
        {"kind": "permitted", "name": "shop-host"},
    )
    scope: dict[str, Any] = {
        "issuer": ISSUER,
        "key_set": jwks([key.public]),
        "redeem": lambda token: binding.canonical().decode(),
    }
    exec(compile(block("python"), "permits.md", "exec"), scope)  # the text under test
    token, body = mint(said, key), b'{"order_id": "A-12", "amount_usd": "5.00"}'
    assert scope["refund"](token, body.replace(b"5.00", b"9.00")) == "refused: wrong-action"
    assert scope["refund"](token, body) == "paid 5.00 once, under 55555555"
    assert scope["refund"](token, body) == "refused: replayed"


def test_every_claim_is_in_the_table_and_no_other() -> None:
    table = PAGE.split("| claim | meaning |", 1)[1].split("\n\n", 1)[0]
    told = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert told == set(claims().to_json())


def test_every_refusal_is_in_the_table_and_no_other() -> None:
    table = PAGE.split("## Refusals", 1)[1].split("## ", 1)[0]
    told = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    kinds = [getattr(interlock.permit, name) for name in interlock.permit.__all__]
    known = {
        k.slug for k in kinds if isinstance(k, type) and issubclass(k, PermitError) and k is not PermitError
    }
    assert told == known


def test_the_documented_claims_are_those_of_the_dataclass() -> None:
    assert len(dataclasses.fields(Claims)) == len(claims().to_json()) - 2  # `v`, and `aud` beside `executor`


def test_every_document_the_page_links_to_exists() -> None:
    docs = Path(__file__).parents[2] / "docs"
    links = re.findall(r"\]\(((?!http)[^)#]+)", PAGE)
    assert links
    assert [link for link in links if not (docs / link).exists()] == []
