"""`interlock policy prove`: what is refuted can be asked of `explain`; what is not known is not claimed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli_command import Result, run, spawn

LOOSE = """
interlock: 1
invariants: {disabled: [money]}
actions:
  shop.refund:
    tier: 3
    risk_tags: [money]
    args: {order: string, amount_usd: {type: decimal, scale: 2, currency: USD}, items: array}
    roles: {amount: amount_usd}
    worst_case: The money is gone
rules:
  - id: small
    match: {topics: [shop.refund]}
    when: args.amount_usd <= 250
    decision: allow
"""
STRICT = LOOSE.replace("invariants: {disabled: [money]}\n", "")


def prove(folder: Path, text: str, *options: str) -> Result:
    (folder / "policy.yaml").write_text(text)
    return run(folder, "policy", "prove", "policy.yaml", *options)


def claims(result: Result) -> dict[str, dict[str, Any]]:
    return {claim["claim"]: claim for claim in result.json["claims"]}


def test_what_is_proved_ends_with_0_and_says_so(tmp_path: Path) -> None:
    proved = prove(tmp_path, STRICT, "--json")
    assert proved.code == 0
    assert (proved.json["ok"], proved.json["outcome"], proved.json["kinds_of_topics"]) == (True, "proved", 2)
    assert {claim["outcome"] for claim in proved.json["claims"]} == {"proved"}
    words = prove(tmp_path, STRICT)
    assert words.code == 0
    assert "proved     Tier 4 never runs without a person" in words.out
    assert "10 proved; the policy tells 2 kinds of topics apart" in words.out
    assert not (tmp_path / ".interlock").exists()


def test_an_action_that_breaks_a_claim_is_decided_alike_by_explain(tmp_path: Path) -> None:
    refuted = prove(tmp_path, LOOSE, "--json")
    assert refuted.code == 3
    claim = claims(refuted)["invariant:money"]
    assert claim["outcome"] == "refuted"
    (found,) = claim["counterexamples"]
    action = json.dumps(found["action"])
    explained = run(tmp_path, "policy", "explain", "policy.yaml", "--action", "-", "--json", stdin=action)
    assert explained.code == 0
    assert explained.json["decision"] == found["verdict"]["decision"] == "allow"
    assert explained.json["rule"] == found["verdict"]["rule"] == "small"


def test_the_line_that_is_printed_can_be_run(tmp_path: Path) -> None:
    words = prove(tmp_path, LOOSE)
    assert words.code == 3
    line = next(line for line in words.out.splitlines() if "interlock policy explain" in line)
    action = line.split("'")[1]
    explained = run(tmp_path, "policy", "explain", "policy.yaml", "--action", "-", stdin=action)
    assert explained.out.startswith("allow\n")


def test_conditions_of_the_caller_s_own_are_proved_too(tmp_path: Path) -> None:
    held = prove(
        tmp_path, STRICT, "--never", "args.amount_usd > 100", "--never", "size(args.order) < 0", "--json"
    )
    assert held.code == 0
    assert claims(held)["never:args.amount_usd > 100"]["vacuous"] is False
    assert claims(held)["never:size(args.order) < 0"]["vacuous"] is True
    ran = prove(tmp_path, STRICT, "--never", "args.amount_usd > 99.98", "--json")
    assert ran.code == 3
    (found,) = claims(ran)["never:args.amount_usd > 99.98"]["counterexamples"]
    assert found["action"]["args"]["amount_usd"] in ("99.99", "100.00")
    typo = prove(tmp_path, STRICT, "--never", "args.amout_usd > 100")
    assert typo.code == 2
    assert "did you mean args.amount_usd" in typo.err


def test_what_nobody_knows_ends_with_4_and_says_why(tmp_path: Path) -> None:
    text = LOOSE.replace(
        "when: args.amount_usd <= 250", """when: "'x' in args.items && args.items.all(i, i == 'y')\""""
    )
    unknown = prove(tmp_path, text)
    assert unknown.code == 4
    assert "undecided  Money that is not proved to be at most $100" in unknown.out
    assert "shop.refund: no list was found" in unknown.out


def test_observe_mode_fails_loudly(tmp_path: Path) -> None:
    observed = prove(tmp_path, f"{STRICT}mode: observe\n")
    assert observed.code == 3
    assert observed.out.startswith("OBSERVE MODE: nothing is enforced but kill switches\n")
    assert "proved     A kill switch stops everything it covers" in observed.out
    assert "1 proved, 9 refuted" in observed.out


def test_a_policy_that_does_not_load_and_a_time_that_is_none_are_refused(tmp_path: Path) -> None:
    assert prove(tmp_path, "interlock: 1\nruls: []\n").code == 3
    refused = prove(tmp_path, STRICT, "--timeout", "5x")
    assert refused.code == 2
    assert "--timeout" in refused.err


def test_without_the_solver_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(STRICT)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "z3.py").write_text("raise ImportError('not here')\n")
    missing = spawn(tmp_path, "policy", "prove", "policy.yaml", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert missing.code == 2
    assert "pip install 'interlock[prove]'" in missing.err


def test_a_directory_of_policies_and_a_home_are_taken_as_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text(STRICT)
    run(tmp_path, "keys", "add", "--kind", "agent", "--name", "a", "--topics", "a.b", "--home", "made")
    proved = run(tmp_path, "policy", "prove", "policies", "--home", "made", "--json")
    assert proved.code == 0
    assert proved.json["in_force"] is False
