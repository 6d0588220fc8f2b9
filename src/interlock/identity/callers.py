"""The authenticated caller, and what its kind may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from interlock.model.errors import Forbidden, OutOfScope
from interlock.model.questions import is_question
from interlock.model.topics import TopicPattern


class KeyKind(StrEnum):
    """What a key is for. `executor` keys redeem permits and report what became of the run."""

    AGENT = "agent"
    ADAPTER = "adapter"
    EXECUTOR = "executor"
    PERSON = "person"


class Role(StrEnum):
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    POLICY_ADMIN = "policy-admin"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever stands behind one call.

    Attributes:
        kind: the key's kind; a signed-in person is `person`.
        agent: the agent's name, for `agent` and `adapter`.
        person: the person's id, for `person`.
        operator: the person who operates the agent behind this key, if one is named.
        executor: the executor's name, as the catalogue has it, for `executor`.
        topics: what may be proposed, or executed.
        roles: a person's roles.
        mark: of the key's row by which this caller was recognised.
    """

    kind: KeyKind
    key_id: str | None = None
    agent: str | None = None
    person: str | None = None
    operator: str | None = None
    topics: tuple[TopicPattern, ...] = ()
    roles: frozenset[Role] = frozenset()
    executor: str | None = None
    mark: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def proposes(self) -> bool:
        return self.kind in (KeyKind.AGENT, KeyKind.ADAPTER)

    def owns(self, agent: str, topic: str) -> bool:
        """Whether this caller may see and withdraw what that agent proposed: its name, within its topics."""
        return self.proposes and self.agent == agent and self._covers(topic)

    def check_topic(self, topic: str) -> str:
        """The agent's name, if this caller may propose the topic.

        Raises:
            Forbidden: the kind does not propose. OutOfScope: the topic is not in the key's scope.
        """
        if not self.proposes or self.agent is None:
            raise Forbidden("Only agent and adapter keys propose actions.")
        for pattern in self.topics:  # asked about every proposal
            if pattern.matches(topic):
                return self.agent
        if is_question(topic):  # questions are in everybody's
            return self.agent
        raise OutOfScope(f"This key may not propose {topic}.")

    def _covers(self, topic: str) -> bool:
        """Whether the topic is in the key's scope; questions are in everybody's."""
        return is_question(topic) or any(pattern.matches(topic) for pattern in self.topics)

    def check_executor(self, name: str) -> str:
        """The executor's name, if the caller is that executor.

        Raises:
            Forbidden: another kind of key, or another executor's.
        """
        if self.kind is not KeyKind.EXECUTOR or self.executor != name:
            raise Forbidden("Only the executor that a permit names redeems it and reports, with its own key.")
        return name

    def check_scope(self, topic: str) -> None:
        """Raises `OutOfScope` where the key's topics do not cover this one."""
        if not any(pattern.matches(topic) for pattern in self.topics):
            raise OutOfScope(f"This key is not for {topic}.")

    def check_role(self, *roles: Role) -> str:
        """The person's id, if the caller is a person with one of the roles.

        Raises:
            Forbidden: an agent's key, or a person without the role.
        """
        if self.kind is not KeyKind.PERSON or self.person is None:
            raise Forbidden("A person decides this, with a person key or signed in; other keys do not.")
        if not self.roles.intersection(roles):
            wanted = " or ".join(role.value for role in roles)
            raise Forbidden(f"This needs the role {wanted}.")
        return self.person


def embedded_caller(agent: str) -> Caller:
    """The caller inside an embedded gate: whoever runs the process, for every topic (design, positions)."""
    return Caller(KeyKind.AGENT, agent=agent, topics=(TopicPattern.parse("*"),))
