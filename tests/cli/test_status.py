"""`nftloyalty status`: one screen, an exit status for timers, and JSON that stays."""

import json
import re
from pathlib import Path

import pytest

from nftloyalty.app.status import STATES
from tests.app.build import new_wallet, program_text
from tests.cli.conftest import Run
from tests.cli.test_commands import members, ok

GUIDE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


@pytest.fixture
def shop(run: Run) -> Run:
    """A folder with a program that is open and whose index is at the head."""
    Path("program.toml").write_text(program_text().replace("Bean Club", "豆の会 Bean Club"))
    for name in ("owner", "hot", "desk-with-a-rather-long-name", "desk", "guard"):
        ok(run("keys", "new", name))
        ok(run("keys", "fund", name, "--coins", "5"))
    ok(run("deploy"))
    ok(run("mint", members(f"{new_wallet()},gold,never")))
    ok(run("index", "catch-up"))
    return run


def test_a_screen_for_people_and_json_for_programs(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = ok(shop("status"))
    assert re.search(r"^Node +http://127.0.0.1:\d+ answers\nHead +block \d+, \d+ \w+ old\n", shown, re.MULTILINE)
    assert ", 0 behind, final up to" in shown
    assert shown.rstrip().endswith("Nothing needs a person.")
    lines = shown.splitlines()
    header = next(line for line in lines if line.startswith("key"))
    hot = next(line for line in lines if line.startswith("hot"))
    assert hot.index("0x") == header.index("address")
    assert hot.split()[-1] == "idle"
    found = json.loads(ok(shop("status", "--json")))
    assert set(found) == {
        "program",
        "asked_at",
        "needs_person",
        "chain_id",
        "genesis_hash",
        "node",
        "indexes",
        "index_lease",
        "signers",
        "webhooks",
        "states",
    }
    assert set(found["node"]) == {"url", "trouble", "head", "head_at"}
    assert set(found["indexes"][0]) == {"program", "block", "behind", "final_block", "at_head_at", "incident"}
    signer = next(each for each in found["signers"] if each["key"] == "hot")
    assert set(signer) == {
        "key",
        "address",
        "powers",
        "balance_wei",
        "next_nonce",
        "chain_nonce",
        "open_slots",
        "oldest_open_since",
        "waiting",
        "lease",
        "halted",
        "waits_for",
    }
    assert signer["open_slots"] == {"reserved": 0, "signed": 0, "broadcasting": 0, "included": 0}
    assert (signer["next_nonce"], signer["chain_nonce"], signer["lease"]) == (1, 1, None)
    assert (found["needs_person"], found["states"], found["index_lease"]) == (False, [], None)
    assert found["webhooks"] == []
    assert "webhook endpoint" not in shown

    made, _secret = ok(shop("webhooks", "create", "https://hooks.example/key-in-the-path")).split()
    (told,) = json.loads(ok(shop("status", "--json")))["webhooks"]
    assert told == {
        "endpoint": made,
        "program": found["program"],
        "state": "active",
        "why": None,
        "failing_since": None,
        "waiting": 0,
        "oldest_waiting_since": None,
        "delivered": 0,
        "failed_tries": 0,
    }
    shown = ok(shop("status"))
    assert re.search(rf"^{made} +\S+ +active +0 +- +- +0 +0$", shown, re.MULTILINE)
    assert "key-in-the-path" not in shown

    monkeypatch.setenv("NFTLOYALTY_RPC_URL", "http://127.0.0.1:9/v3/k3y-0f-the-node-provider")
    away = shop("status")
    assert away.status == 1
    assert "no answer from the node at http://127.0.0.1:9" in away.out
    assert "Needs a person:\n- no answer from the node" in away.out
    assert "block" in next(line for line in away.out.splitlines() if line.startswith("Index"))
    assert "k3y" not in away.out + away.err
    told = shop("status", "--json")
    assert told.status == 1
    found = json.loads(told.out)
    assert [(each["code"], each["needs_person"]) for each in found["states"]] == [("node_unreachable", True)]
    assert found["node"]["head"] is None


def test_without_a_program_it_says_so(run: Run) -> None:
    Path("program.toml").write_text(program_text())
    found = run("status")
    assert found.status == 1
    assert "is not open on this chain" in found.out


def test_the_guide_lists_every_state_in_its_order() -> None:
    table = GUIDE.partition("| code | means | do |")[2].partition("\n\n")[0]
    told = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert told == list(STATES)
