"""A server whose database goes away and comes back: it says so, records nothing, and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from psycopg.conninfo import conninfo_to_dict

from house import POLICY, House
from interlock.identity import KeyKind
from interlock.ledger import Frontier, leaf_hash
from postgres import Postgres
from server_process import ServerProcess
from waiting import wait_for

DATABASES = ("postgres",)


@contextmanager
def outage(postgres: Postgres, url: str) -> Iterator[None]:
    """Nobody gets into the database, and whoever was in it is thrown out."""
    name = conninfo_to_dict(url)["dbname"]
    postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        postgres.end_sessions(url)
        yield
    finally:
        postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_server_outlives_an_outage_of_its_database(
    house: House, postgres: Postgres, tmp_path: Path
) -> None:
    _, key = house.home.keyring.add(KeyKind.AGENT, "support", topics=("*",), by="test")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    assert house.url is not None
    options = ("--database", house.url)
    with (
        ServerProcess(house.home.path, policy, options=options) as server,
        httpx.Client(
            base_url=server.url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=30
        ) as agent,
    ):

        def propose(number: int) -> httpx.Response:
            return agent.post("/v1/actions", json={"topic": "notes.add", "args": {"n": number}})

        assert propose(1).status_code == 201
        with outage(postgres, house.url):
            refused = propose(2)
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:interlock:problem:connection-lost"
            assert agent.get("/readyz").status_code == 503
            time.sleep(2.5)  # publisher, dispatcher and sweeps meet it too
            assert agent.get("/healthz").status_code == 200
        assert propose(3).status_code == 201
        wait_for(lambda: agent.get("/readyz").status_code == 200)  # its lease lives again
        assert server.stop() == 0
    proposed = [entry for entry in house.entries() if '"topic":"notes.add"' in entry]
    assert len(proposed) == 2
    assert house.home.journal.head()[1] == Frontier.EMPTY.appended(
        leaf_hash(body) for body in house.home.journal.entries()
    )
