"""`index`: how far it has come, bringing it up to date, and building it anew; and `verify`, which needs it."""

import json
import os
import re
from typing import Any

import pytest
from pytest import MonkeyPatch
from sqlalchemy import update

from nftloyalty.app.context import build_app
from nftloyalty.cli import indexing, session
from nftloyalty.config import from_environment
from nftloyalty.store import tables
from nftloyalty.store.engine import begin
from tests.app.build import new_wallet
from tests.cli.conftest import Run
from tests.cli.test_commands import members, ok, shop

__all__ = ["shop"]  # a fixture


def shown(shop: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ok(shop("index", "show", "--json")))
    return found


def set_position(**values: object) -> None:
    """Write into the index of the one program of the database in this folder."""
    app = build_app(from_environment(os.environ))
    with begin(app.engine) as tx:
        assert tx.execute(update(tables.positions).values(**values)).rowcount == 1
    app.close()


def test_an_index_is_shown_as_it_comes_about(shop: Run) -> None:
    before = shown(shop)
    assert (before["block"], before["final_block"], before["at_head_at"], before["incident"]) == (None,) * 4
    assert "Index    not begun; `nftloyalty worker`, `serve` and `index catch-up` build it\n" in ok(
        shop("index", "show")
    )
    caught_up = ok(shop("index", "catch-up"))
    assert caught_up == f"The index is at block {before['head']}, the newest one.\n"
    after = shown(shop)
    assert after["block"] == after["final_block"] == after["head"] == before["head"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", after["at_head_at"])
    text = ok(shop("index", "show"))
    assert f"Head     block {after['head']}\n" in text
    assert f"Index    block {after['head']}, 0 behind; final up to {after['head']}\n" in text
    assert re.search(r"^At head  20\d\d-\d\d-\d\d [\d:]+ UTC$", text, re.MULTILINE)
    assert "Halted" not in text
    ok(shop("mint", members(f"{new_wallet()},gold,never")))
    assert re.search(r"^Index    block \d+, [1-9]\d* behind", ok(shop("index", "show")), re.MULTILINE)


def test_verify_brings_the_index_up_to_date_by_itself(shop: Run) -> None:
    wallet = new_wallet()
    for consistency in ("head", "final", "live"):
        no = shop("verify", wallet, "--consistency", consistency)
        assert (no.status, "Card     none\n" in no.out) == (1, True)
    ok(shop("mint", members(f"{wallet},gold,never")))
    for consistency in ("live", "head", "final"):
        assert "Answer   yes" in ok(shop("verify", wallet, "--tier", "gold", "--consistency", consistency))
    asked = shop("verify", wallet, "--json")
    assert asked.err == ""
    as_of = json.loads(ok(asked))["as_of"]
    assert (as_of["block"], as_of["final"]) == (shown(shop)["head"], True)
    assert shop("verify", wallet, "--consistency", "newest").status == 2


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_way_is_shown(shop: Run, monkeypatch: MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(indexing, "SHOWN_FROM_BLOCKS", 0)
    monkeypatch.setattr(session.err, "_force_terminal", terminal)
    caught_up = shop("index", "catch-up")
    ok(caught_up)
    hidden_cursor = "\x1b[?25l"  # while a bar is drawn
    assert (hidden_cursor in caught_up.err, "Indexed up to block" in caught_up.err) == (terminal, not terminal)


def test_verify_asked_live_needs_no_index(shop: Run) -> None:
    assert shop("verify", new_wallet(), "--consistency", "live").status == 1
    assert shown(shop)["block"] is None


def test_a_halted_index_is_told_and_built_anew(shop: Run) -> None:
    wallet = new_wallet()
    ok(shop("mint", members(f"{wallet},gold,never")))
    ok(shop("verify", wallet))
    set_position(incident="block 7 was final and is gone")
    assert shown(shop)["incident"] == "block 7 was final and is gone"
    text = ok(shop("index", "show"))
    assert "Halted   block 7 was final and is gone; `nftloyalty index rebuild` starts over\n" in text
    for command in (("verify", wallet), ("index", "catch-up")):
        refused = shop(*command)
        assert (refused.status, refused.out) == (3, "")
        assert "is halted: block 7 was final and is gone" in refused.err
        assert "`nftloyalty index rebuild`" in refused.err
    assert "Answer   yes" in ok(shop("verify", wallet, "--consistency", "live"))
    rebuilt = ok(shop("index", "rebuild"))
    assert rebuilt == f"The index was built anew and is at block {shown(shop)['head']}, the newest one.\n"
    assert shown(shop)["incident"] is None
    assert "Answer   yes" in ok(shop("verify", wallet))


def test_what_the_index_got_wrong_is_right_after_a_rebuild(shop: Run) -> None:
    """The chain holds it all."""
    wallet = new_wallet()
    ok(shop("mint", members(f"{wallet},gold,2049-12-31")))
    before = json.loads(ok(shop("verify", wallet, "--json")))
    ok(shop("index", "rebuild"))
    after = json.loads(ok(shop("verify", wallet, "--json")))
    for found in (before, after):
        del found["as_of"]["age_seconds"], found["as_of"]["checked_seconds_ago"]
    assert before == after
