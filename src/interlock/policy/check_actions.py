"""Checking the catalogue: names in templates and roles, tiers, addresses, limits, undoing."""

from __future__ import annotations

from interlock.model.topics import TopicPattern
from interlock.model.verdicts import Tier
from interlock.policy.builtin import CLEAN_UNDO_SEC
from interlock.policy.catalogue import CatalogueEntry
from interlock.policy.check_connectors import mcp_problems, sql_problems
from interlock.policy.check_probes import check_probe
from interlock.policy.check_undo import check_undo
from interlock.policy.checking import Report
from interlock.policy.document import ActionSpec, ArgSpec, HttpSpec, ScopeSpec
from interlock.policy.executes import CallerExecute, HttpExecute, McpExecute, PermittedExecute, SqlExecute
from interlock.policy.findings import Path
from interlock.policy.reach import Reach
from interlock.policy.templates import check_address, fields, split
from interlock.policy.typecheck import only_tightens

_BODY = frozenset({"POST", "PUT", "PATCH"})
_SCALARS = frozenset({"string", "integer", "number", "boolean", "decimal"})


def check_actions(report: Report, reach: Reach) -> None:
    """Everything about the entries of the catalogue."""
    trigger = report.document.triggers.irreversibility
    scope = trigger.match or ScopeSpec()
    met = reach.met(scope.topics, scope.risk_tags, scope.all_risk_tags) if trigger.enabled else ()
    watched = frozenset(entry.pattern for entry in met)
    for entry in reach.entries:
        spec = report.document.actions[entry.pattern]
        _Action(report, reach, entry.pattern, spec, entry).check(watched=entry.pattern in watched)


class _Action:
    """The checks of one entry. `entry` is compiled without its conditions."""

    def __init__(
        self, report: Report, reach: Reach, key: str, spec: ActionSpec, entry: CatalogueEntry
    ) -> None:
        self.report = report
        self.reach = reach
        self.key = key
        self.spec = spec
        self.entry = entry
        self.path: Path = ("actions", key)

    def check(self, *, watched: bool) -> None:
        """`watched`: by the irreversibility trigger."""
        self.pattern()
        self.args()
        self.roles()
        self.summary()
        self.raises()
        self.execute()
        self.limits()
        check_probe(self.report, self.path, self.spec)
        check_undo(self.report, self.reach, self.path, self.spec, self.entry)
        self.money()
        if watched:
            self.irreversible()

    def pattern(self) -> None:
        pattern = TopicPattern.parse(self.key)
        unnamed = all(segment == "*" for segment in pattern.segments)
        if unnamed and pattern.open_ended:
            self.report.add(
                self.path, f"{self.key!r} would catalogue every topic unseen; name topics", key=True
            )
            return
        swept = f"every topic of {len(pattern.segments)} segments" if unnamed else "every topic below it"
        if (unnamed or pattern.open_ended) and self.spec.tier < Tier.EXTERNAL:
            self.report.loosens(
                f"action {self.key}: tier {self.spec.tier} lets {swept} run, also future ones"
            )
        elif unnamed:
            self.report.loosens(
                f"action {self.key}: it catalogues {swept} unseen, so default_decision speaks of none of them"
            )

    def args(self) -> None:
        for name, arg in (self.spec.args or {}).items():
            at: Path = (*self.path, "args", name)
            if arg.type == "decimal" and arg.scale is None:
                self.report.add(
                    at, f"the decimal {name!r} does not say its scale, as in {{type: decimal, scale: 2}}"
                )
            for key, owner in (("scale", "decimal"), ("currency", "decimal"), ("max_length", "string")):
                if getattr(arg, key) is not None and arg.type != owner:
                    self.report.add(
                        (*at, key), f"{key!r} belongs to a {owner}; {name!r} is a {arg.type}", key=True
                    )

    def declared(self, path: Path, name: str, whose: str) -> ArgSpec | None:
        """The argument of that name; a finding where there is none."""
        args = self.spec.args or {}
        arg = args.get(name)
        if arg is None:
            guess = self.report.meant(name, args)
            self.report.add(path, f"{whose} names {name!r}, which is no declared argument", guess)
        return arg

    def roles(self) -> None:
        for role, name in (self.spec.roles or {}).items():
            at: Path = (*self.path, "roles", role)
            arg = self.declared(at, name, f"the role {role!r}")
            if arg is None:
                continue
            if role == "amount" and (arg.type != "decimal" or arg.currency is None):
                self.report.add(at, f"the amount {name!r} is a decimal with a currency")
            if role == "people" and arg.type not in ("integer", "array"):
                self.report.add(at, f"the people in {name!r} are an integer, or an array that is counted")

    def summary(self) -> None:
        if self.spec.summary is None:
            return
        at: Path = (*self.path, "summary")
        try:
            parts = split(self.spec.summary)
        except ValueError as error:
            self.report.add(at, f"summary: {error}")
            return
        for literal, name in parts:
            arg = self.declared(at, name, "the summary") if name is not None else None
            if arg is not None and literal.endswith("$") and arg.currency not in ("USD", None):
                self.report.add(at, f"a '$' stands before {name!r}, which is in {arg.currency}")

    def raises(self) -> None:
        for index, raised in enumerate(self.spec.raise_to or ()):
            at: Path = (*self.path, "raise_to", index)
            if raised.tier <= self.spec.tier:
                self.report.add(
                    (*at, "tier"),
                    f"tier {raised.tier} is not above the action's own tier {self.spec.tier}",
                )
            when: Path = (*at, "when")
            asked = self.report.condition(
                when, raised.when, self.reach.alone(self.entry), whose=f"action {self.key}"
            )
            if asked is None:
                continue
            if ("tier",) in asked.read:
                self.report.add(when, "raise_to decides the tier, so its condition cannot read it")
            for problem in only_tightens(asked.expr):
                self.report.add(when, problem.message)

    def execute(self) -> None:
        execute = self.spec.execute
        if execute is None:
            return
        at: Path = (*self.path, "execute")
        ways = (execute.http, execute.sql, execute.mcp, execute.caller, execute.permitted)
        if sum(way is not None for way in ways) != 1:
            self.report.add(at, "execute says one of http, sql, mcp, caller and permitted")
        elif execute.http is not None:
            self.address((*at, "http", "url"), execute.http)
        elif execute.sql is not None:
            for key, problem in sql_problems(execute.sql, self.spec):
                self.report.add((*at, "sql", key), problem)
        elif execute.mcp is not None:
            for key, problem in mcp_problems(execute.mcp):
                self.report.add((*at, "mcp", key), problem)
        elif execute.permitted is not None and execute.permitted.offline:
            self.offline((*at, "permitted", "offline"))

    def offline(self, at: Path) -> None:
        if self.spec.tier >= Tier.EXTERNAL:
            self.report.add(
                at, f"offline is for tiers 1 and 2; tier {self.spec.tier} is redeemed at the gate first"
            )

    def address(self, at: Path, http: HttpSpec) -> None:
        try:
            check_address(http.url)
        except ValueError as error:
            self.report.add(at, f"url: {error}")
            return
        used = fields(http.url)
        for name in used:
            arg = self.declared(at, name, "the url")
            if arg is not None and arg.optional:
                self.report.add(at, f"the url needs {name!r}, which is optional")
            if arg is not None and arg.type not in _SCALARS:
                self.report.add(at, f"the url holds {name!r}, which is an {arg.type}")
        unsent = sorted(set(self.spec.args or ()) - set(used)) if http.method not in _BODY else []
        if unsent:
            self.report.warn(f"action {self.key}: {http.method} does not send {', '.join(unsent)}")

    def limits(self) -> None:
        at: Path = (*self.path, "constraints")
        for name in self.entry.constraints.named:
            missing = unenforced(self.entry, name)
            if missing and certainly_unenforced(self.entry, name):
                self.report.add((*at, name), f"nothing enforces {name} here: {missing}", key=True)
            elif missing:
                self.report.warn(f"action {self.key}: nothing enforces {name} yet: {missing}")

    def money(self) -> None:
        """What the invariant about money cannot read, it holds; what nobody calls an amount, it misses."""
        self.unseen_money()
        if self.spec.tier == Tier.IRREVERSIBLE or "money" in (self.report.document.invariants.disabled or ()):
            return
        known = self.report.document.invariants.money_above
        role = (self.spec.roles or {}).get("amount")
        amount = (self.spec.args or {}).get(role) if role else None
        if role is None and "money" in (self.spec.risk_tags or ()):
            self.report.warn(
                f"action {self.key}: it is tagged money and no argument has the role amount, "
                "so invariant:money holds every call"
            )
        elif amount is not None and amount.currency not in (*known, "USD", None):
            self.report.warn(
                f"action {self.key}: its amount is in {amount.currency}, for which money_above has no "
                "threshold, so invariant:money holds every call"
            )

    def unseen_money(self) -> None:
        """Money that moves where no threshold and no invariant looks."""
        names = [name for name, arg in sorted((self.spec.args or {}).items()) if arg.currency is not None]
        declared = "amount" in (self.spec.roles or {}) or "money" in (self.spec.risk_tags or ())
        reads = highest_tier(self.spec) < Tier.REVERSIBLE
        if names and not declared and not reads and self.spec.tier < Tier.IRREVERSIBLE:
            self.report.loosens(
                f"action {self.key}: {names[0]} is money and no argument has the role amount, "
                "so no threshold and no invariant reads it"
            )

    def irreversible(self) -> None:
        """What the irreversibility trigger holds for want of a way back."""
        tiers = {self.spec.tier, *(raised.tier for raised in self.spec.raise_to or ())}
        within = self.spec.undo_within if self.spec.undo is not None else None
        if Tier.REVERSIBLE not in tiers or (within is not None and within <= CLEAN_UNDO_SEC):
            return
        self.report.warn(
            f"action {self.key}: irreversibility asks a person each time it is tier 2, because no undo "
            "takes it back within 5m"
        )


def highest_tier(spec: ActionSpec) -> int:
    """The highest tier that an action may have."""
    return max([spec.tier, *(raised.tier for raised in spec.raise_to or ())])


LIMITS = ("max_runtime_sec", "network_allowlist", "max_amount_usd")
"""The constraints that something has to enforce."""


def unenforced(entry: CatalogueEntry, constraint: str) -> str:
    """Why nothing enforces a constraint on this entry's topics; empty where something does."""
    if constraint == "max_amount_usd":
        role = entry.roles.get("amount")
        declared = (entry.args or {}).get(role) if role else None
        if declared is None or declared.currency != "USD":
            return "it has no amount in USD"
    elif constraint == "network_allowlist" and unwatched(entry):
        return "a server that is started here reaches what it likes"
    elif constraint == "max_runtime_sec" and isinstance(entry.execute, CallerExecute):
        return ""  # in a child process; a function that no child finds refuses the claim
    elif not isinstance(entry.execute, HttpExecute | SqlExecute | McpExecute | PermittedExecute):
        return "a function of the caller cannot be held to it" if entry.execute else "it has no executor"
    return ""


def unwatched(entry: CatalogueEntry) -> bool:
    """Whether it is run by a process of this machine whose network nobody watches."""
    return isinstance(entry.execute, McpExecute) and entry.execute.server is not None


def certainly_unenforced(entry: CatalogueEntry, constraint: str) -> bool:
    """Whether no later capability of an executor could change that."""
    if constraint == "network_allowlist" and unwatched(entry):
        return True
    return constraint == "max_amount_usd" or isinstance(entry.execute, CallerExecute)
