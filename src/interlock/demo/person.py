"""The person of a rehearsal: decides over HTTP with a person's key, on what was shown and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from interlock.demo.errors import DemoFailed

View = dict[str, Any]


class Reviewer:
    """One reviewer.

    Args:
        url: the gate's.
        key: a `person` key.
    """

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=20.0, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def request_about(self, action_id: str) -> View:
        """The latest approval request about an action, with everything a reviewer is shown."""
        return self._got(self._http.get(f"/v1/approvals/{action_id}"))

    def approve(self, request: View, note: str = "") -> View:
        return self._decide(request, {"decision": "approve", "note": note})

    def reject(self, request: View, reason_code: str, note: str) -> View:
        return self._decide(request, {"decision": "reject", "reason_code": reason_code, "note": note})

    def edit(self, request: View, changes: Mapping[str, str], note: str) -> View:
        """Put other arguments in place of some; the result names the request that supersedes this one."""
        args = {**request["args"], **changes}
        return self._decide(request, {"decision": "edit", "args": args, "note": note})

    def status_of_approving(self, request: View) -> int:
        """Approve what may no longer be what is pending; returns the status."""
        return self._answer(request, {"decision": "approve"}).status_code

    def in_state(self, state: str) -> list[View]:
        """All actions in one state."""
        found, cursor = [], None
        while True:
            query = {"state": state} | ({"cursor": cursor} if cursor else {})
            page = self._got(self._http.get("/v1/actions", params=query))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def reconcile(self, action_id: str, *, took_effect: bool, note: str) -> View:
        """Say what became of an action that is in doubt."""
        body = {"outcome": "succeeded" if took_effect else "failed", "note": note}
        return self._got(self._http.post(f"/v1/actions/{action_id}/reconcile", json=body))

    def _decide(self, request: View, decision: View) -> View:
        return self._got(self._answer(request, decision))

    def _answer(self, request: View, decision: View) -> httpx.Response:
        body = {**decision, "expected_hash": request["review_hash"]}
        return self._http.post(f"/v1/approvals/{request['id']}/decisions", json=body)

    @staticmethod
    def _got(answer: httpx.Response) -> View:
        if not answer.is_success:
            where = f"{answer.request.method} {answer.request.url.path}"
            raise DemoFailed(f"The gate answered {where} with {answer.status_code}: {answer.text}")
        return dict(answer.json())
