"""Sample traffic: what the agent behind each starter policy proposes in an ordinary week.

    uv run python policies/traffic.py

1. `WEEKS` is the whole of it: so many calls of this topic, with arguments drawn from there. It is invented,
   and made to look like a team's week: mostly looking, some writing, now and then something that matters. The
   share that a policy holds of it says whether that policy can be lived with; your own week, replayed with
   `interlock policy simulate --home`, says it better.
2. Every draw is a hash of where it is made: the policy, the row, the call, the argument. The files are the
   same on every machine and with every Python, and one row that changes changes no other.
3. A line is an action file, as `interlock policy explain --action` reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Money:
    """An amount from `low` to `high`, both whole, in cents."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Code:
    """A name with a number, such as A-1042; from `low` to `high`, both included."""

    prefix: str
    low: int = 1_000
    high: int = 9_999


@dataclass(frozen=True, slots=True)
class Several:
    """A list of `low` to `high` codes."""

    of: Code
    low: int
    high: int


Draw: TypeAlias = "str | bool | tuple[str | bool, ...] | Money | Whole | Code | Several"
"""What an argument is drawn from. A tuple: one of these."""
Row: TypeAlias = tuple[int, str, Mapping[str, Draw]]
"""How often, which topic, which arguments."""

_SERVICES = ("checkout", "search", "catalog", "accounts", "mailer")
_VERSIONS = ("4.2.0", "4.2.1", "4.3.0", "5.0.0", "5.0.1")
_PATHS = ("src/app.py", "src/orders.py", "src/money/rounding.py", "tests/test_orders.py", "docs/index.md")
_ANSWERS = (
    "Your parcel left us yesterday and should be with you on Thursday.",
    "I have changed the size as you asked; nothing else about the order is different.",
    "The invoice is in your account, under Orders.",
    "We are sorry for the delay. The new date is Monday.",
    "Returns are free for thirty days; the label is in the box.",
)

WEEKS: Mapping[str, tuple[Row, ...]] = {
    "support-refunds": (
        (104, "support.orders.get", {"order_id": Code("A-")}),
        (58, "support.customers.get", {"customer_id": Code("C-")}),
        (31, "support.tickets.search", {"query": ("late parcel", "broken on arrival", "wrong size")}),
        (47, "support.tickets.close", {"ticket_id": Code("T-")}),
        (5, "support.tickets.reopen", {"ticket_id": Code("T-")}),
        (52, "support.refunds.create", {"order_id": Code("A-"), "amount_usd": Money(4, 99)}),
        (6, "support.refunds.create", {"order_id": Code("A-"), "amount_usd": Money(100, 380)}),
        (1, "support.refunds.create", {"order_id": Code("A-"), "amount_usd": Money(700, 1_400)}),
        (13, "support.credits.issue", {"customer_id": Code("C-"), "amount_usd": Money(5, 25)}),
        (2, "support.credits.issue", {"customer_id": Code("C-"), "amount_usd": Money(40, 90)}),
        (4, "support.orders.reroute", {"order_id": Code("A-"), "address": ("3 Mill Lane, York", "PO Box 9")}),
        (
            1,
            "support.refunds.redirect",
            {"order_id": Code("A-"), "amount_usd": Money(20, 60), "account": Code("X-")},
        ),
    ),
    "devops-deploys": (
        (92, "ops.status.get", {"service": _SERVICES}),
        (71, "ops.logs.search", {"service": _SERVICES, "query": ("timeout", "OOM", "status=500")}),
        (38, "ops.deploys.plan", {"service": _SERVICES, "version": _VERSIONS}),
        (54, "ops.staging.deploy", {"service": _SERVICES, "version": _VERSIONS}),
        (6, "ops.staging.rollback", {"service": _SERVICES}),
        (9, "ops.staging.migrate", {"database": ("orders", "accounts"), "migration": Code("m", 40, 60)}),
        (
            17,
            "ops.production.flag",
            {"flag": ("new-basket", "fast-search", "dark-mode"), "on": (True, False)},
        ),
        (11, "ops.production.scale", {"service": _SERVICES, "replicas": Whole(2, 12)}),
        (1, "ops.production.scale", {"service": "checkout", "replicas": Whole(24, 40)}),
        (3, "ops.production.rollback", {"service": _SERVICES}),
        (
            14,
            "ops.production.deploy",
            {"service": _SERVICES, "version": _VERSIONS, "change": Code("CHG-")},
        ),
        (
            2,
            "ops.production.migrate",
            {"database": ("orders", "accounts"), "migration": Code("m", 40, 60), "change": Code("CHG-")},
        ),
        (1, "ops.production.restore-version", {"service": "search", "version": "4.1.7"}),
        (1, "ops.access.grant", {"account": "new-colleague", "role": "reader"}),
    ),
    "data-deletion": (
        (96, "data.records.get", {"record_id": Code("r")}),
        (61, "data.records.search", {"query": ("inactive since 2021", "duplicate of", "no consent")}),
        (88, "data.records.archive", {"record_ids": Several(Code("r"), 1, 12)}),
        (2, "data.records.archive", {"record_ids": Several(Code("r"), 30, 60)}),
        (1, "data.records.archive", {"record_ids": Several(Code("r"), 101, 104)}),
        (9, "data.records.restore", {"record_ids": Several(Code("r"), 1, 4)}),
        (
            21,
            "data.exports.create",
            {
                "dataset": ("orders", "tickets"),
                "destination": ("warehouse", "reporting"),
                "limit": Whole(50, 1_000),
            },
        ),
        (
            1,
            "data.exports.create",
            {"dataset": "orders", "destination": "warehouse", "limit": Whole(8_000, 20_000)},
        ),
        (2, "data.exports.create", {"dataset": "tickets", "destination": "a-partner", "limit": Whole(5, 90)}),
        (6, "data.records.delete", {"record_ids": Several(Code("r"), 1, 8)}),
        (7, "data.subjects.erase", {"subject_id": Code("s-"), "request_id": Code("req-")}),
        (1, "data.retention.shorten", {"dataset": "visits", "days": Whole(30, 90)}),
    ),
    "customer-email": (
        (101, "mail.threads.get", {}),
        (64, "mail.orders.list", {}),
        (39, "mail.articles.search", {"query": ("returns", "delivery abroad", "invoice")}),
        (22, "mail.drafts.save", {"subject": ("Your order", "Your return"), "body": _ANSWERS}),
        (3, "mail.drafts.discard", {"draft_id": Code("d-")}),
        (83, "mail.customers.reply", {"body": _ANSWERS}),
        (
            3,
            "mail.customers.reply",
            {
                "body": (
                    "You mention your lawyer; we have passed your letter on.",
                    "We are not liable for what the courier left in the rain.",
                )
            },
        ),
        (5, "mail.customers.reply", {"body": _ANSWERS, "attachments": Several(Code("label-"), 1, 1)}),
        (6, "mail.vips.reply", {"body": _ANSWERS}),
        (
            4,
            "mail.outbound.send",
            {
                "to": Several(Code("courier+"), 1, 2),
                "subject": ("A lost parcel", "An address"),
                "body": ("Where is it?", "Is this address right?"),
            },
        ),
    ),
    "finance-payments": (
        (97, "finance.invoices.get", {"invoice_id": Code("I-")}),
        (74, "finance.orders.match", {"invoice_id": Code("I-")}),
        (18, "finance.balances.get", {"account": ("main", "payroll", "tax")}),
        (41, "finance.drafts.create", {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999)}),
        (4, "finance.drafts.discard", {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999)}),
        (
            43,
            "finance.payments.send",
            {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999), "amount": Money(3, 99)},
        ),
        (
            17,
            "finance.payments.send-sepa",
            {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999), "amount": Money(3, 99)},
        ),
        (
            14,
            "finance.payments.send",
            {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999), "amount": Money(120, 4_800)},
        ),
        (
            4,
            "finance.payments.send-sepa",
            {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999), "amount": Money(120, 3_000)},
        ),
        (
            2,
            "finance.payments.send",
            {"invoice_id": Code("I-"), "payee_id": Code("P-", 100, 999), "amount": Money(6_000, 12_000)},
        ),
        (2, "finance.payees.create", {"name": ("Harbour Freight", "Lindt & Co"), "account": Code("ACC-")}),
        (1, "finance.payees.update", {"payee_id": Code("P-", 100, 999), "account": Code("ACC-")}),
    ),
    "coding-agent": (
        (121, "code.files.read", {"path": _PATHS}),
        (57, "code.search.run", {"query": ("def total", "TIMEOUT", "round(")}),
        (68, "code.files.edit", {"path": _PATHS, "content": "# …\n"}),
        (3, "code.files.remove", {"path": ("src/old.py", "docs/draft.md")}),
        (6, "code.files.restore", {"path": _PATHS}),
        (
            63,
            "code.shell.run",
            {
                "argv": (
                    '["git","status"]',
                    '["git","diff"]',
                    '["uv","run","pytest","-q"]',
                    '["uv","run","ruff","check","."]',
                    '["uv","run","mypy","src"]',
                )
            },
        ),
        (
            6,
            "code.shell.run",
            {
                "argv": (
                    '["uv","run","pytest","-q","tests/test_orders.py"]',
                    '["git","stash"]',
                    '["uv","run","python","scripts/fill.py"]',
                )
            },
        ),
        (1, "code.shell.run", {"argv": '["bash","-c","ls | wc -l"]'}),
        (
            8,
            "code.web.fetch",
            {
                "url": (
                    "https://docs.python.org/3/library/decimal.html",
                    "https://www.rfc-editor.org/rfc/rfc9110",
                )
            },
        ),
        (2, "code.web.fetch", {"url": "https://example.com/blog/rounding"}),
        (2, "code.packages.add", {"ecosystem": "pypi", "name": ("tenacity", "attrs"), "version": "26.1.0"}),
        (2, "code.files.edit", {"path": ("pyproject.toml", "uv.lock"), "content": "# …\n"}),
        (1, "code.files.edit", {"path": ".github/workflows/ci.yml", "content": "# …\n"}),
        (19, "code.git.commit", {"message": ("Round half to even", "Name the unit", "Test the empty order")}),
        (1, "code.git.uncommit", {"message": "Name the unit"}),
        (11, "code.git.push", {"branch": ("agent/rounding", "agent/units")}),
        (1, "code.git.push", {"branch": "main"}),
        (7, "code.pulls.open", {"title": ("Round half to even", "Name the unit"), "body": "See the tests."}),
    ),
}
"""By starter policy, the rows of its week."""


def week(policy: str) -> str:
    """The week of one starter policy, as lines of JSON in the order of the week."""
    lines = sorted(_actions(policy))
    return "".join(f"{line}\n" for _, line in lines)


def _actions(policy: str) -> Iterator[tuple[bytes, str]]:
    """Every action with what it is sorted by, which mixes the rows."""
    for row, (count, topic, args) in enumerate(WEEKS[policy]):
        for call in range(count):
            place = (policy, row, call)
            drawn = {name: _drawn(draw, *place, name) for name, draw in args.items()}
            yield _hash(*place), json.dumps({"topic": topic, "args": drawn}, ensure_ascii=False)


def _drawn(draw: Draw, *place: object) -> object:
    match draw:
        case tuple():
            return draw[_number(0, len(draw) - 1, *place)]
        case Money():
            cents = _number(draw.low * 100, draw.high * 100, *place)
            return f"{cents // 100}.{cents % 100:02}"
        case Whole():
            return _number(draw.low, draw.high, *place)
        case Code():
            return f"{draw.prefix}{_number(draw.low, draw.high, *place)}"
        case Several():
            length = _number(draw.low, draw.high, *place, "length")
            return [_drawn(draw.of, *place, index) for index in range(length)]
        case _:
            return draw


def _number(low: int, high: int, *place: object) -> int:
    """A whole number from `low` to `high`, both included: the same one for the same place."""
    return low + int.from_bytes(_hash(*place)) % (high - low + 1)


def _hash(*place: object) -> bytes:
    return hashlib.sha256("/".join(map(str, place)).encode()).digest()


if __name__ == "__main__":
    for name in WEEKS:
        (HERE / name / "traffic.jsonl").write_text(week(name), encoding="utf-8")
