"""The publisher's other half: asks witnesses to cosign what was signed, and publishes it with what they gave.

1. Which witnesses, where they are and how many are needed stands in ``ledger/witnesses`` of the home, a trust
   policy (tlog-policy). Without that file nobody is asked, and what is signed is what is published.
2. Nothing waits for a witness but its own round: not the gate, not a commit, not the signing. A round asks
   all of them at once, gives each `ROUND_SEC`, and then the checkpoint is published with the cosignatures it
   got. A quorum that is missed is logged, and stands in `standing`; the gate goes on.
3. One process asks at a time, by a file lock, and always about the newest signed checkpoint. So a witness
   that has cosigned more entries than are signed here has seen another history than this home's.
4. What each witness cosigned last, as size and frontier, is kept in ``ledger/witnessed.json``, with the
   published checkpoint. It saves reading the log again for every proof, and may be lost: a witness tells its
   size, and the frontier is then computed from the entries.
5. Only a line in a witness's name that verifies is published.
6. A witness that contradicts this home signs nothing when it does: anybody in its place can say the same. So
   it is said in the log and stands in `standing`, and stops the home only where the policy gives it that
   weight: where without the witnesses that contradict it the quorum cannot be reached.

Source: c2sp.org/tlog-witness, c2sp.org/tlog-policy.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from interlock.home.files import write_whole
from interlock.journal.tables import SPAN
from interlock.ledger import Frontier, TrustPolicy, consistency_path, consistency_text, subtrees
from interlock.ledger.trust import MAX_POLICY, Listed
from interlock.model.errors import HomeUnusable

ROUND_SEC = 5.0
"""How long a witness may take for its answer, in all."""
BACKOFF_SEC = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""How long a witness is left alone after its first, second, … failure in a row."""
_MAX_ANSWER = 64 << 10
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What one witness said to the newest checkpoint: when it cosigned, in seconds since 1970, or why not.
    `contradicts`: it says that it has seen another history."""

    name: str
    at: int | None
    error: str
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the published checkpoint stands with the witnesses.

    Attributes:
        configured: there is a policy.
        reached: the published checkpoint has its quorum; also where none is needed.
        size: entries of the published checkpoint; 0 where none was published with witnesses.
        witnesses: in the policy's order.
        quorum_size: entries of the newest checkpoint that had its quorum; None where none had.
        problem: why the policy cannot be used, or empty.
    """

    configured: bool
    reached: bool
    size: int = 0
    witnesses: tuple[Cosigned, ...] = ()
    quorum_size: int | None = None
    problem: str = ""

    @property
    def contradicted(self) -> bool:
        """Some witness says that it has seen another history than this home's."""
        return any(each.contradicts for each in self.witnesses)


@dataclass(slots=True)
class _State:
    """What ``witnessed.json`` keeps. Witnesses by their public keys in hexadecimal."""

    text: str = ""
    note: str = ""
    tree: Frontier = Frontier.EMPTY
    seen: dict[str, Frontier] = field(default_factory=dict)
    lines: dict[str, tuple[str, int]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    contradictions: dict[str, int] = field(default_factory=dict)
    """By witness, how many entries it says that it has cosigned."""
    quorum_size: int | None = None

    @classmethod
    def read(cls, raw: bytes) -> _State:
        held = json.loads(raw)
        return cls(
            held["text"],
            held["note"],
            _tree(held["tree"]),
            {key: _tree(tree) for key, tree in held["seen"].items()},
            {key: (line, at) for key, (line, at) in held["lines"].items()},
            held["errors"],
            held["contradictions"],
            held["quorum_size"],
        )

    def written(self) -> bytes:
        document: dict[str, Any] = {
            "text": self.text,
            "note": self.note,
            "tree": _plain(self.tree),
            "seen": {key: _plain(tree) for key, tree in self.seen.items()},
            "lines": self.lines,
            "errors": self.errors,
            "contradictions": self.contradictions,
            "quorum_size": self.quorum_size,
        }
        return json.dumps(document).encode()


class Witnesses:
    """Asks the witnesses of one home.

    Args:
        folder: the home's ``ledger`` folder.
        publish: signs the newest head and returns the signed checkpoint.
        leaves: hashes of the ledger's entries from one number to another, exclusive.
        contradicted: told what a witness has seen that this home has not, and how many entries.
    """

    def __init__(
        self,
        folder: Path,
        publish: Callable[[], str],
        leaves: Callable[[int, int], Iterator[bytes]],
        contradicted: Callable[[str, int], None],
    ) -> None:
        self._folder = folder
        self._contradicted = contradicted
        self._publish = publish
        self._leaves = leaves
        self._failures: dict[str, tuple[int, float]] = {}
        self._reached: bool | None = None

    @property
    def configured(self) -> bool:
        """Whether this home has a policy of witnesses."""
        return (self._folder / "witnesses").exists()

    def checkpoint(self) -> str:
        """What is published: the newest checkpoint whose round is over; unwitnessed, the newest signed."""
        if self.configured:
            note = self._state().note
            if note:
                return note
        return self._publish()

    def standing(self) -> Standing:
        """How the published checkpoint stands; asks nobody."""
        if not self.configured:
            return Standing(configured=False, reached=True)
        try:
            policy = self._policy()
        except HomeUnusable as error:
            return Standing(configured=True, reached=False, problem=error.detail)
        state = self._state()
        witnesses = tuple(
            Cosigned(
                each.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
                state.lines[_id(each)][1] if _id(each) in state.lines else None,
                state.errors.get(_id(each), ""),
                _id(each) in state.contradictions,
            )
            for each in policy.witnesses
        )
        reached = bool(state.note) and policy.reached(_names(policy, state))
        size = _size(state.note) if state.note else 0
        return Standing(True, reached, size, witnesses, state.quorum_size)

    def gather(self, *, patient: bool = False) -> str:
        """One round about the newest signed checkpoint; returns what is then published.

        Args:
            patient: ask also the witnesses that are left alone after a failure.

        Raises:
            HomeUnusable: (or a subclass) the policy cannot be used, or the journal is not what was signed.
        """
        if not self.configured:
            return self._publish()
        policy = self._policy()
        with self._alone():
            note = self._publish()
            text = note[: note.rindex("\n\n") + 1]
            state = self._state()
            origin = text.split("\n", 1)[0]
            if policy.logs and all(vkey.partition("+")[0] != origin for vkey in policy.logs):
                raise HomeUnusable(f"The policy of witnesses lists logs, and not this one, {origin}.")
            if state.text != text:
                if state.text.split("\n", 1)[0] != origin:
                    state.seen, state.contradictions = {}, {}  # a new epoch is another log to them
                tree = self._grown(state.tree, text)
                state.text, state.tree, state.lines = text, tree, {}
            self._round(policy, state, note, patient=patient)
            return state.note

    # --- a round --------------------------------------------------------------------------------------------

    def _round(self, policy: TrustPolicy, state: _State, note: str, *, patient: bool) -> None:
        asked = [each for each in policy.witnesses if self._to_ask(each, state, patient=patient)]
        if asked:
            asyncio.run(self._ask_all(asked, policy, state, note))
        if asked or not state.note.startswith(note):
            self._keep(policy, state, note)
        self._weigh(policy, state)
        reached = policy.reached(_names(policy, state))
        if reached != self._reached:
            self._reached = reached
            size = state.tree.size
            if reached:
                _log.info("the checkpoint of %d entries has its quorum of witnesses", size)
            else:
                told = "; ".join(
                    f"{each.name!a}: {state.errors.get(_id(each)) or 'not asked'}"
                    for each in policy.witnesses
                    if _id(each) not in state.lines
                )
                _log.warning(
                    "the checkpoint of %d entries is without its quorum of witnesses: %s", size, told
                )

    def _weigh(self, policy: TrustPolicy, state: _State) -> None:
        """Tell of contradictions that the policy gives the weight to stop this home (rule 6)."""
        found = [each for each in policy.witnesses if _id(each) in state.contradictions]
        others = {each.name for each in policy.witnesses} - {each.name for each in found}
        if found and not policy.reached(others):
            for each in found:
                told = each.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                sentence = f"The witness {told} says: {state.errors.get(_id(each), 'another history')}."
                self._contradicted(sentence, state.contradictions[_id(each)])

    def _to_ask(self, each: Listed, state: _State, *, patient: bool) -> bool:
        if each.key is None or each.url is None or _id(each) in state.lines:
            return False
        return patient or time.monotonic() >= self._failures.get(_id(each), (0, 0.0))[1]

    async def _ask_all(self, asked: list[Listed], policy: TrustPolicy, state: _State, note: str) -> None:
        async def ask(each: Listed) -> None:
            before = state.contradictions.pop(_id(each), 0)
            try:
                async with asyncio.timeout(ROUND_SEC):
                    state.lines[_id(each)] = await self._ask(each, state, note)
            except TimeoutError:
                self._failed(each, state, f"no answer within {ROUND_SEC:g} s", before)
                return
            except _Contradicted as error:
                _log.error("the witness %a says: %s", each.name, error)
                self._failed(each, state, str(error))
                state.contradictions[_id(each)] = error.size
                return
            except _Unanswered as error:
                self._failed(each, state, str(error), before)
                return
            state.seen[_id(each)] = state.tree
            state.errors.pop(_id(each), None)
            self._failures.pop(_id(each), None)
            if policy.reached(_names(policy, state)):
                self._keep(policy, state, note)  # without waiting for the others

        # Not a task group: what goes wrong on this side is raised as it is.
        await asyncio.gather(*map(ask, asked))

    def _failed(self, each: Listed, state: _State, sentence: str, contradicted: int = 0) -> None:
        """Note why there is no cosignature.

        Args:
            contradicted: what it said before; it stands where this home still has fewer entries.
        """
        if contradicted > state.tree.size:
            state.contradictions[_id(each)] = contradicted
        count = self._failures.get(_id(each), (0, 0.0))[0]
        pause = BACKOFF_SEC[min(count, len(BACKOFF_SEC) - 1)]
        self._failures[_id(each)] = count + 1, time.monotonic() + pause
        state.errors[_id(each)] = sentence

    def _keep(self, policy: TrustPolicy, state: _State, note: str) -> None:
        """Publish the checkpoint with the cosignatures it has."""
        cosignatures = [state.lines[_id(each)][0] for each in policy.witnesses if _id(each) in state.lines]
        state.note = note + "".join(cosignatures)
        if policy.reached(_names(policy, state)):
            state.quorum_size = state.tree.size
        write_whole(self._folder / "witnessed.json", state.written())

    # --- one witness ----------------------------------------------------------------------------------------

    async def _ask(self, each: Listed, state: _State, note: str) -> tuple[str, int]:
        """The witness's line and its time. Raises `_Unanswered` where there is none."""
        assert each.key is not None
        assert each.url is not None
        size = state.tree.size
        old = state.seen.get(_id(each), Frontier.EMPTY)
        if old.size > size:
            old = Frontier.EMPTY
        for _ in range(3):
            proof = await asyncio.to_thread(self._proof, old, size)
            status, answer = await _post(each.url, consistency_text(old.size, proof, note))
            if status == 200:
                found = each.key.signed(state.text, answer)
                if found is None:
                    raise _Unanswered("its answer holds no valid cosignature")
                return found
            told = _SIZE.fullmatch(answer) if status == 409 else None
            if told is None:
                raise _Unanswered(f"it refused with status {status}")
            if int(told[1]) > SPAN:
                raise _Unanswered(f"it names {told[1]} entries, which no log has")
            if int(told[1]) == old.size:
                if not old.size:
                    raise _Unanswered("it has cosigned another log of 0 entries, which is none")
                raise _Contradicted(
                    f"it has cosigned another log of {old.size} entries under this name", old.size
                )
            if int(told[1]) > size:
                if int(told[1]) <= _size(await asyncio.to_thread(self._publish)):
                    raise _Unanswered("it has cosigned a newer checkpoint meanwhile")
                raise _Contradicted(
                    f"it has cosigned {told[1]} entries, and only {size} are signed here", int(told[1])
                )
            # Its last answer was lost, or this home's memory of it was.
            old = await asyncio.to_thread(self._tree_of, Frontier.EMPTY, int(told[1]))
        raise _Unanswered("it names another size each time")

    def _proof(self, old: Frontier, size: int) -> list[bytes]:
        return subtrees(consistency_path(old.size, size), self._leaves(old.size, size), old)

    def _tree_of(self, start: Frontier, size: int) -> Frontier:
        return start.appended(self._leaves(start.size, size))

    def _grown(self, tree: Frontier, text: str) -> Frontier:
        """The tree that a checkpoint names, from an older one where that is its beginning."""
        _, size, root = text.split("\n")[:3]
        for start in (tree, Frontier.EMPTY):
            if start.size <= int(size):
                grown = self._tree_of(start, int(size))
                if b64encode(grown.root()).decode() == root:
                    return grown
        raise HomeUnusable(f"The journal's first {size} entries are not those that were signed.")

    # --- files ----------------------------------------------------------------------------------------------

    def _policy(self) -> TrustPolicy:
        path = self._folder / "witnesses"
        try:
            with path.open("rb") as file:
                return TrustPolicy.parse(file.read(MAX_POLICY + 1))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise HomeUnusable(
                f"{path} is no usable policy of witnesses: {reason}.", fix="See: docs/ledger.md, Witnesses."
            ) from None

    def _state(self) -> _State:
        try:
            return _State.read((self._folder / "witnessed.json").read_bytes())
        except FileNotFoundError:
            return _State()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s does not read, and is begun anew: %s", self._folder / "witnessed.json", error)
            return _State()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._folder / "witnessing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class _Unanswered(Exception):
    """A witness gave no cosignature. The message says why."""


class _Contradicted(_Unanswered):
    """A witness has seen what this home does not have: the log was forked, or put back to an older state.

    `size`: how many entries it has cosigned.
    """

    def __init__(self, sentence: str, size: int) -> None:
        super().__init__(sentence)
        self.size = size


async def _post(prefix: str, body: str) -> tuple[int, str]:
    """Submit a checkpoint; the status and the answer's text. Whoever calls limits the time.

    Raises:
        _Unanswered: the witness cannot be reached, or its answer is too large or no text.
    """
    url = f"{prefix.rstrip('/')}/add-checkpoint"
    try:
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,  # noqa: S113 (the caller's limit is on the whole)
            client.stream("POST", url, content=body.encode()) as response,
        ):
            answer = bytearray()
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_ANSWER:
                    raise _Unanswered(f"its answer has more than {_MAX_ANSWER} bytes")
            return response.status_code, answer.decode("utf-8")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise _Unanswered(f"it cannot be asked: {type(error).__name__}") from None


def _size(note: str) -> int:
    return int(note.split("\n", 2)[1])


def _names(policy: TrustPolicy, state: _State) -> set[str]:
    return {each.name for each in policy.witnesses if _id(each) in state.lines}


def _id(each: Listed) -> str:
    """What a witness is kept by: its key, so that another key under its old name starts anew."""
    return each.name if each.key is None else each.key.public.hex()


def _plain(tree: Frontier) -> list[Any]:
    return [tree.size, tree.to_bytes().hex()]


def _tree(held: Any) -> Frontier:
    size, hashes = held
    return Frontier.from_bytes(size, bytes.fromhex(hashes))
