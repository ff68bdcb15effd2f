"""`mint` and `stamp` with --dry-run: what they promise is what the real run does."""

import json
from pathlib import Path

from tests.app.build import new_wallet
from tests.cli.conftest import Run
from tests.cli.test_commands import members, ok, shop

__all__ = ["shop"]  # a fixture


def test_a_dry_run_tells_cost_and_quota_and_ends_well(shop: Run) -> None:
    file = members(f"{new_wallet()},,", f"{new_wallet()},gold,2049-12-31")
    tried = shop("mint", file, "--dry-run", "--json")
    plan = json.loads(ok(tried))
    assert (plan["rows"], plan["to_do"], plan["transactions"]) == (2, 2, 1)
    assert (plan["quota_left"], plan["gas_is_measured"], plan["obstacles"]) == (10_000, True, [])
    assert int(plan["balance_wei"]) > int(plan["cost_wei"]) > 0
    assert "2 good rows: 2 to do" in tried.err
    assert "1 transaction of up to " in tried.err


def test_a_dry_run_fails_where_the_quota_is_too_small(shop: Run) -> None:
    ok(shop("quota", "set", "cards", "mint", "1"))
    file = members(*(f"{new_wallet()},," for _ in range(3)))
    tried = shop("mint", file, "--dry-run", "--json")
    assert tried.status == shop("mint", file).status == 3
    assert json.loads(tried.out)["obstacles"] == ["quota_spent"]
    assert "too little for this file by 2" in tried.err
    assert "3 rows to mint, but today's quota has 1 left" in tried.err
    assert "--spread" in tried.err
    spread = shop("mint", file, "--dry-run", "--spread", "--json")
    assert json.loads(ok(spread))["obstacles"] == []


def test_where_no_row_can_be_tried_the_gas_is_said_to_be_a_guess(shop: Run) -> None:
    ok(shop("quota", "set", "cards", "mint", "1"))
    ok(shop("mint", members(f"{new_wallet()},,")))
    tried = shop("mint", members(f"{new_wallet()},,"), "--dry-run", "--json")
    assert tried.status == 3
    plan = json.loads(tried.out)
    assert (plan["quota_left"], plan["gas_is_measured"]) == (0, False)
    assert "about (no row can be tried while the quota is used up)" in tried.err


def test_a_dry_run_fails_where_the_key_can_not_pay(shop: Run) -> None:
    ok(shop("keys", "new", "poor"))
    ok(shop("roles", "grant", "minter", "poor"))
    program = Path("program.toml")
    program.write_text(program.read_text().replace('minters = ["hot"', 'minters = ["poor"'))
    Path("guests.csv").write_text(f"address\n{new_wallet()}\n")
    for tried in (
        shop("stamp", "latte", "guests.csv", "--dry-run", "--json"),
        shop("mint", members(f"{new_wallet()},,"), "--dry-run", "--json"),
    ):
        assert tried.status == 3
        plan = json.loads(tried.out)
        assert plan["obstacles"] == ["out_of_funds"]
        assert (plan["balance_wei"], int(plan["cost_wei"]) > 0) == ("0", True)
        assert "has 0.000000 coins and needs about" in tried.err
        assert "Mend: send it at least" in tried.err
        assert "On this development chain: nftloyalty keys fund poor" in tried.err
    sent = shop("mint", members(f"{new_wallet()},,"))
    assert sent.status == 3
    assert "On this development chain: nftloyalty keys fund poor" in sent.err


def test_the_quota_is_told_also_where_nothing_is_to_do(shop: Run) -> None:
    file = members(f"{new_wallet()},,")
    ok(shop("mint", file))
    plan = json.loads(ok(shop("mint", file, "--dry-run", "--json")))
    assert (plan["to_do"], plan["done"], plan["gas"], plan["quota_left"]) == (0, 1, 0, 9_999)
    assert "1 good row: 0 to do" in shop("mint", file, "--dry-run").err
