"""The support agent: reads tickets, and acts through the gate because it has no other way.

1. It holds an agent's key. What it wants, it proposes over HTTP and takes the answer as it comes: done,
   held for a person, or denied.
2. Each proposal carries an idempotency key made from the ticket. When the gate does not answer, the agent
   asks again with the same key, as any careful client does.
3. It reasons by script and is easily fooled: it believes what it reads in an order's note.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

from interlock.demo import story
from interlock.demo.errors import DemoFailed
from interlock.demo.story import Case, Ticket

PATIENCE_SEC = 45.0
_PAUSE_SEC = 0.15
_SECOND_THOUGHTS = story.TICKETS[1]

View = dict[str, Any]


class Agent:
    """One support agent. Several threads may work tickets with it.

    Args:
        url: the gate's.
        key: an `agent` key.

    Attributes:
        acknowledged: ids of actions that the gate said it had recorded.
    """

    def __init__(self, url: str, key: str) -> None:
        self.acknowledged: list[str] = []
        self._http = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=40.0, trust_env=False
        )
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()
        self._http.close()

    # --- tickets -------------------------------------------------------------------------------------------

    def work(self, ticket: Ticket) -> list[View]:
        """A routine ticket: look at the order, draft a reply, refund a small amount where that is fair.

        Returns its actions as the gate answered them.
        """
        actions = [self.look_up(ticket.order_id, ticket.id)]
        reply = {"ticket_id": ticket.id, "text": ticket.reply}
        draft = self.propose(story.DRAFT, reply, key=f"{ticket.id}/draft", session=ticket.id)
        actions.append(draft)
        if ticket is _SECOND_THOUGHTS and draft["state"] == "succeeded":
            discard = {"draft_id": draft["result"]["body"]["draft_id"]}
            key = f"{ticket.id}/discard"
            actions.append(self.propose(story.DISCARD, discard, key=key, session=ticket.id))
        if ticket.refund_usd is not None:
            refund = {
                "order_id": ticket.order_id,
                "amount_usd": ticket.refund_usd,
                "recipient": ticket.sender,
            }
            actions.append(self.propose(story.REFUND, refund, key=f"{ticket.id}/refund", session=ticket.id))
        return actions

    def handle(self, case: Case) -> View:
        """A ticket whose answer has consequences; returns the action as the gate answered it."""
        looked = self.look_up(case.order_id, case.ticket)
        order = looked["result"]["body"] if looked["state"] == "succeeded" else {}
        return self.propose(
            case.topic,
            case.args,
            key=f"{case.ticket}/act",
            session=case.ticket,
            reasoning=case.reasoning.replace("{note}", str(order.get("note", ""))),
            alternatives=case.alternatives,
            confidence=case.confidence,
        )

    def look_up(self, order_id: str, ticket: str) -> View:
        key = f"{ticket}/look-up"
        return self.propose(story.LOOK_UP, {"order_id": order_id}, key=key, session=ticket)

    # --- the gate ------------------------------------------------------------------------------------------

    def propose(
        self,
        topic: str,
        args: Mapping[str, str],
        *,
        key: str,
        session: str,
        reasoning: str = "",
        alternatives: tuple[str, ...] = (),
        confidence: float = 0.9,
    ) -> View:
        """Propose an action, again and again with the same key until the gate answers.

        Raises:
            DemoFailed: the gate refused the request, or did not answer for `PATIENCE_SEC`.
        """
        body = {
            "topic": topic,
            "args": dict(args),
            "session": session,
            "reasoning": reasoning,
            "alternatives": list(alternatives),
            "confidence": confidence,
        }
        action = self._asked("POST", "/v1/actions", body, {"idempotency-key": key})
        self.acknowledged.append(action["id"])
        return action

    def look(self, action_id: str) -> View:
        """What became of an action."""
        return self._asked("GET", f"/v1/actions/{action_id}")

    def approve_own(self, action: View) -> int:
        """Try to approve what it proposed itself; returns the status it is refused with."""
        approval = action["approval"]
        body = {"decision": "approve", "expected_hash": approval["review_hash"]}
        return self._http.post(f"/v1/approvals/{approval['id']}/decisions", json=body).status_code

    def _asked(
        self, method: str, path: str, body: View | None = None, headers: Mapping[str, str] | None = None
    ) -> View:
        end = time.monotonic() + PATIENCE_SEC
        while True:
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                if time.monotonic() > end or self._closed.wait(_PAUSE_SEC):
                    raise DemoFailed(f"The gate did not answer {method} {path}: {error}.") from error
                continue
            if answer.is_success:
                return dict(answer.json())
            raise DemoFailed(f"The gate answered {method} {path} with {answer.status_code}: {answer.text}")


def without_the_gate(shop_url: str, order_id: str) -> int:
    """Ask the shop for a refund directly, as an agent that wants to pass the gate by; returns its status."""
    body = {"order_id": order_id, "amount_usd": "10.00", "recipient": "nobody@example.com"}
    return httpx.post(f"{shop_url}/refunds", json=body, trust_env=False).status_code
