"""A database that was put back: the console says that nothing runs, refuses, and comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from console_desk import Visit
from playwright.sync_api import Browser, expect

from house import POLICY, REFUND, House
from interlock.identity import KeyKind, Role
from restored import Backup
from server_process import ServerProcess, opened


@dataclass
class Restored:
    """A server whose database is older than its ledger; what `visit` needs; and two people's keys."""

    url: str
    session: dict[str, str]
    proof: str
    approval: str
    keys: tuple[str, str]

    def agree(self) -> None:
        """Both people agree, from elsewhere, to go on without what is lost."""
        for key in self.keys:
            headers = {"authorization": f"Bearer {key}"}
            with httpx.Client(base_url=self.url, headers=headers, trust_env=False) as client:
                gap = client.get("/v1/recovery").raise_for_status().json()["gap"]
                body = {"gap": gap, "reason": "restored the backup of noon"}
                client.post("/v1/recovery/agree", json=body).raise_for_status()


@contextmanager
def restored(folder: Path) -> Iterator[Restored]:
    policy, home_folder, keys = folder / "policy.yaml", folder / "home", []
    policy.write_text(POLICY, encoding="utf-8")
    with opened(home_folder, policy) as home:
        house = House(home)
        for name, role in (("Ann", Role.OPERATOR), ("Bob", Role.POLICY_ADMIN)):
            person = house.person(name, role, Role.REVIEWER)
            keys.append(home.keyring.add(KeyKind.PERSON, name, person=person, by="test")[1])
        token, _ = home.roster.redeem(home.roster.issue_link(person))
        proof, cookie = home.roster.proof(token), f"interlock_{home.publisher.log[-8:]}"
        approval, _ = house.request(house.held())
        home.publisher.publish()
        saved = Backup(house, folder)
        house.held(args={**REFUND, "order_id": "B-7"})
    saved.put_back()
    with ServerProcess(home_folder) as server:
        session = {"name": cookie, "value": token, "url": server.url}
        yield Restored(server.url, session, proof, approval, (keys[0], keys[1]))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_restored_database_stops_every_page_until_two_people_went_on(
    chromium: Browser, visit: Visit, tmp_path: Path, screenshots: Path, width: int
) -> None:
    with restored(tmp_path) as desk:
        inbox = visit(desk, "/", width=width)
        page = visit(desk, f"/a/{desk.approval}", width=width)
        for each, name in ((inbox, "inbox"), (page, "decision")):
            expect(each.get_by_role("alert").filter(has_text="Nothing runs")).to_contain_text(
                "interlock ledger recover"
            )
            each.screenshot(path=screenshots / f"recovery-{name}-{width}.png")
        expect(inbox.locator("ol.rows li")).to_have_count(1)
        expect(page.get_by_role("button", name="Approve")).to_be_disabled()
        expect(page.get_by_role("button", name="Reject")).to_have_count(0)
        expect(page.get_by_text("Nothing can be changed until the ledger is recovered.")).to_be_visible()
        page.screenshot(path=screenshots / f"recovery-refused-{width}.png")

        desk.agree()
        expect(page.get_by_role("alert").filter(has_text="Nothing runs")).to_have_count(0)
        expect(inbox.locator("ol.rows li")).to_have_count(0)
        page = visit(desk, f"/a/{desk.approval}", width=width)
        expect(page.locator("#outcome")).to_contain_text("In doubt")
        page.screenshot(path=screenshots / f"recovered-{width}.png")
        page.get_by_role("button", name="It did not").click()
        page.get_by_label("How do you know?").fill("The bank has none.")
        page.get_by_role("button", name="Record it").click()
        expect(page.locator("#outcome")).to_have_text("Failed")
