"""``interlock hook``: one event of Claude Code in, one answer out.

1. An answer that lets a tool run is written only by whoever has just claimed its action. In every other case
   the tool is denied, with a sentence that says what the model should do, or deferred, where Claude Code ends
   and is resumed later (``-p``).
2. Everything unexpected ends with exit code 2 and a sentence on standard error, which is the one way in which
   a hook of Claude Code blocks: input that is not understood, an event of another kind, a gate that cannot be
   asked, a signal, the clock, a defect of ours.
3. A call is looked for before it is proposed: by its own id, which never runs twice, then by session, tool
   and arguments. What a person rejected stays rejected for that session. That a request expired, or was
   taken back, is told once; after that it is asked for anew.
4. What the policy allows by itself at tiers 1 and 2 may be called again while an equal call runs or is in
   doubt. Everything else waits until the first one is settled.
5. PermissionRequest: a call that was claimed before its tool ran is left to Claude Code's own dialog, which
   can only refuse. Any other is decided as before a tool.
6. What the report says is what Claude Code says: ran to its end (a command's exit status included), or
   interrupted. With other arguments than the approved ones it is in doubt, and says so.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from interlock.adapters.calls import edited, told
from interlock.adapters.claude_code.desk import Claim, Desk, Remote, announced
from interlock.adapters.claude_code.kept import Kept, Memory, printed
from interlock.adapters.claude_code.tools import Call, call_of, effective
from interlock.client.held import result_of
from interlock.model.canonical import parse_json, plain
from interlock.model.errors import InterlockError, InvalidInput, NotFound

BLOCK = 2
LIMIT_SEC = 25
MAX_EVENT = 64 << 20
AGENT = "claude-code"
AGAIN = (
    "Repeat exactly this call once it is decided; it attaches to this request. Until then do something else "
    "or tell the user, and do not go around it."
)
_ENDED = re.compile(r"Exit code ([0-9]{1,3})\b", re.ASCII)
_KILLED = frozenset({124, 130, 137, 143})
_MAY_RUN = ("allowed", "approved")
_BY_POLICY = ("allow", "allow_with_constraints")


@dataclass(frozen=True, slots=True)
class Options:
    """How a hook finds its gate.

    Attributes:
        url, key_file: the server and an adapter's key; without a key the gate in `home` is opened.
        state: where what a hook remembers is kept.
        agent: under which name an embedded gate proposes.
        defer: whether a held call ends a run without a person at the terminal (``-p``), to be resumed.
    """

    home: Path | None = None
    url: str | None = None
    key_file: Path | None = None
    state: Path | None = None
    agent: str = AGENT
    defer: bool = True

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Options:
        """Options of a command line. Raises `InvalidInput` for one that is not known."""
        found: dict[str, Any] = {}
        rest = iter(arguments)
        for name in rest:
            if name == "--no-defer":
                found["defer"] = False
            elif name in ("--home", "--url", "--key-file", "--state", "--agent"):
                field = name[2:].replace("-", "_")
                value = next(rest, None)
                if not value:
                    raise InvalidInput("needs a value", path=name)
                found[field] = value if field in ("url", "agent") else Path(value).expanduser()
            else:
                raise InvalidInput("is not an option of interlock hook", path=name)
        return cls(**found)

    def desk(self) -> Desk:
        """Raises `InterlockError` where there is no gate."""
        home = self.home or Path(".interlock")
        if self.key_file is not None:
            return Remote.at(self.url or announced(home), self.key_file)
        from interlock.adapters.claude_code.embedded import InHome

        if not (home / "home.json").is_file():
            raise NotFound(f"There is no home in {home}, and no --key-file to ask a server with.")
        return InHome.open(home, self.agent)

    @property
    def folder(self) -> Path:
        if self.state is not None:
            return self.state
        if self.key_file is None:
            return (self.home or Path(".interlock")) / "claude-code"
        known = os.environ.get("XDG_STATE_HOME")
        return (Path(known) if known else Path.home() / ".local" / "state") / "interlock" / "claude-code"


def run(arguments: Sequence[str]) -> NoReturn:
    """Answer an event, and end this process by its exit code.

    Python's own end would make 120 of an answer that nobody could read, and 120 blocks nothing.
    """
    os._exit(main(arguments))


def main(arguments: Sequence[str]) -> int:
    """Read an event, answer it; the exit code. Never raises, and never answers "allow" by accident."""
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(sign, _cut_short)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SEC - 1)
    try:
        answer = _answer(Options.read(arguments))
    except InterlockError as error:
        return _blocked(str(error))
    except BaseException as error:  # noqa: BLE001 (rule 2)
        return _blocked(f"{type(error).__name__}.")
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(sign, signal.SIG_IGN)
    try:
        if answer is not None:
            sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    except OSError:
        return BLOCK
    return 0


def _answer(options: Options) -> dict[str, Any] | None:
    event = plain(parse_json(sys.stdin.buffer.read(MAX_EVENT + 1), max_bytes=MAX_EVENT))
    if not isinstance(event, dict):
        raise InvalidInput("an object")
    kind, call = event.get("hook_event_name"), call_of(event)
    memory = Memory(options.folder, call.session)
    match kind:
        case "PreToolUse":
            with closing(options.desk()) as desk:
                return before(call, desk, memory, defer=options.defer and _alone())
        case "PermissionRequest":
            with closing(options.desk()) as desk:
                return asked(call, desk, memory)
        case "PostToolUse" | "PostToolUseFailure":
            kept = memory.of_call(call) or memory.of_wish(call)
            if kept is not None and kept.epoch:
                with closing(options.desk()) as desk:
                    after(event, kept, desk)
            return None  # what was not let run by a hook of ours is not ours to report
        case _:
            raise InvalidInput("PreToolUse, PermissionRequest, PostToolUse or PostToolUseFailure")


def before(call: Call, desk: Desk, memory: Memory, *, defer: bool) -> dict[str, Any]:
    """The answer to PreToolUse."""
    decided = _decide(call, desk, memory)
    said: dict[str, Any] = {"hookEventName": "PreToolUse"}
    if decided.claim is not None:
        said |= {"permissionDecision": "allow", "permissionDecisionReason": decided.words}
        if decided.input is not None:
            said |= {"updatedInput": decided.input, "additionalContext": decided.words}
    elif decided.waits and defer:
        said |= {"permissionDecision": "defer", "permissionDecisionReason": decided.words}
    else:
        said |= {"permissionDecision": "deny", "permissionDecisionReason": decided.words}
    return {"hookSpecificOutput": said}


def asked(call: Call, desk: Desk, memory: Memory) -> dict[str, Any] | None:
    """The answer to PermissionRequest, or none (rule 5)."""
    kept = memory.of_wish(call)
    if kept is not None and kept.epoch and desk.action(kept.action)["state"] == "executing":
        return None
    decided = _decide(call, desk, memory)
    answer: dict[str, Any] = {"behavior": "deny", "message": decided.words}
    if decided.claim is not None:
        answer = {"behavior": "allow"}
        if decided.input is not None:
            answer["updatedInput"] = decided.input
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": answer}}


def after(event: Mapping[str, Any], kept: Kept, desk: Desk) -> None:
    """Report what became of a call that was let run."""
    outcome, note = _outcome(event, kept)
    desk.report(kept.action, (kept.revision, kept.epoch, kept.holder), outcome, note)


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of one call: a claim, or words for the model.

    Attributes:
        input: the tool's input, where a person changed it.
        waits: whether a person has not decided yet.
    """

    words: str
    claim: Claim | None = None
    input: dict[str, Any] | None = None
    waits: bool = False


def _decide(call: Call, desk: Desk, memory: Memory) -> Decided:
    view = _found(call, desk, memory)
    if isinstance(view, Decided):
        return view
    if view["executor"] != "caller":
        return Decided(
            f"{call.topic} is carried out by {view['executor']}, and not by Claude Code; its policy has to "
            f"say `execute: {{caller: {{}}}}`. It did not run. Action {view['id']}."
        )
    kept = Kept(view["id"], view["tier"], view["revision"])
    if memory.of_call(call) is None:  # another process may hold the claim of this very call
        memory.keep(call, kept)
    if view["state"] in _MAY_RUN:
        try:
            claim = desk.claim(view["id"], call.lease_sec)
        except InterlockError as error:
            view = desk.action(view["id"])
            if view["state"] in _MAY_RUN:
                return Decided(told(error))
        else:
            names = tuple(sorted(claim.args))
            whole = effective(call, claim.args)
            ran = printed({name: whole[name] for name in names})
            memory.keep(
                call,
                replace(
                    kept,
                    revision=claim.revision,
                    epoch=claim.epoch,
                    holder=claim.holder,
                    ran=ran,
                    names=names,
                ),
            )
            if whole == call.given:
                return Decided(f"{view['user_message']} Action {view['id']}.", claim)
            return Decided(f"{edited(view)} Action {view['id']}.".strip(), claim, whole)
    return Decided(_why_not(view), waits=view["state"] == "held")


def _found(call: Call, desk: Desk, memory: Memory) -> dict[str, Any] | Decided:
    """The action of a call, found or proposed, or why it is over (rules 3 and 4)."""
    own = memory.of_call(call)
    if own is not None:
        return desk.action(own.action)
    wish = memory.of_wish(call)
    if wish is not None:
        view = desk.action(wish.action)
        if view["state"] == "rejected":
            return Decided(_why_not(view))
        if view["state"] in ("expired", "withdrawn", "revoked") and not wish.told:
            memory.keep(call, replace(wish, told=True))
            return Decided(_why_not(view))
    view = desk.propose(call)
    busy = view["state"] in ("executing", "in_doubt")
    if busy and view["tier"] in (1, 2) and view["decision"] in _BY_POLICY and call.use_id is not None:
        view = desk.propose(call, call_id=call.use_id)
    return view


def _why_not(view: dict[str, Any]) -> str:
    try:
        result_of(view)
    except InterlockError as error:
        return told(error, again=AGAIN)
    return f"This call has run already, once: it was not run again. Action {view['id']}."


def _outcome(event: Mapping[str, Any], kept: Kept) -> tuple[str, str]:
    """What to report, and a sentence for a person (rule 6)."""
    given = event["tool_input"]
    if printed({name: given.get(name) for name in kept.names}) != kept.ran:
        return "in_doubt", "Claude Code says that it ran with other arguments than the approved ones."
    took = event.get("duration_ms")
    within = f" in {took} ms" if isinstance(took, int) else ""
    if event["hook_event_name"] == "PostToolUse":
        answer = event.get("tool_response")
        if isinstance(answer, dict) and answer.get("interrupted") is True:
            return "in_doubt", "Claude Code says that it was interrupted."
        return "succeeded", f"Claude Code ran it{within}."
    ended = _ENDED.match(str(event.get("error", "")))
    if event.get("is_interrupt") is True:
        return "in_doubt", "Claude Code says that it was interrupted."
    if ended is not None and int(ended[1]) not in _KILLED:
        return "succeeded", f"Claude Code ran it to its end{within}; it answered exit code {ended[1]}."
    if kept.tier == 1:
        return "failed", "Claude Code says that it failed; it only reads."
    return "in_doubt", "Claude Code says that it failed, and not how far it came."


def _alone() -> bool:
    """Whether no person sits at this run's terminal: ``claude -p``, the one that defers."""
    return os.environ.get("CLAUDE_CODE_ENTRYPOINT") == "sdk-cli"


def _blocked(words: str) -> int:
    try:
        sys.stderr.write(f"Interlock did not let this run: {words}\n")
        sys.stderr.flush()
    except OSError:
        return BLOCK
    return BLOCK


def _cut_short(number: int, _: object) -> NoReturn:
    _blocked("the gate did not answer in time." if number == signal.SIGALRM else "the hook was ended.")
    os._exit(BLOCK)
