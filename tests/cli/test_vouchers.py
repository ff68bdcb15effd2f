"""`vouchers create`: what it promises is new, whole on disk, and said to be no good where it is."""

import json
import os
import re
from pathlib import Path

import pytest

from nftloyalty.cli.vouchers import _write_new
from nftloyalty.errors import BadInput
from tests.app.build import new_wallet
from tests.cli.conftest import Run
from tests.cli.test_commands import members, ok, shop

__all__ = ["shop"]  # a fixture

DAY = 86_400


def test_a_file_is_never_overwritten_and_nothing_is_signed_for_it(shop: Run) -> None:
    Path("voucher.json").write_text("precious")
    refused = shop("vouchers", "create", "--to", new_wallet(), "--out", "voucher.json")
    assert (refused.status, refused.out) == (2, "")
    assert "voucher.json: is there already (name another file, or remove it first)" in refused.err
    assert Path("voucher.json").read_text() == "precious"
    Path("link.json").symlink_to("nowhere.json")
    assert shop("vouchers", "create", "--to", new_wallet(), "--out", "link.json").status == 2
    assert not Path("nowhere.json").exists()


def test_file_and_screen_hold_the_same(shop: Run) -> None:
    asked = ("vouchers", "create", "--to", new_wallet(), "--until", "2040-01-31")
    printed = shop(*asked)
    ok(shop(*asked, "--out", "voucher.json"))
    assert Path("voucher.json").read_text() == printed.out
    # The last second of the day.
    assert json.loads(printed.out)["voucher"]["deadline"] % DAY == DAY - 1
    assert "It can be claimed through 2040-01-31 (UTC)." in printed.err
    assert [path.name for path in Path().iterdir() if path.name.startswith(".voucher")] == []


def test_without_a_deadline_it_is_good_for_thirty_days(shop: Run) -> None:
    assert re.search(
        r"It can be claimed until \d{4}-\d\d-\d\d \d\d:\d\d", shop("vouchers", "create", "--to", new_wallet()).err
    )


def test_an_expiry_is_read_as_in_the_lists(shop: Run) -> None:
    def expires_at(text: str) -> int:
        found = json.loads(ok(shop("vouchers", "create", "--to", new_wallet(), "--expiry", text)))
        return int(found["voucher"]["expires_at"])

    assert expires_at("2040-01-31") == expires_at("2040-02-01T07:00+07:00") == 2_211_667_200
    assert expires_at("never") == expires_at("Never") == 0
    refused = shop("vouchers", "create", "--to", new_wallet(), "--expiry", "20400131")
    assert refused.status == 2
    assert "--expiry: '20400131' is not a date or time (a date as 2030-12-31" in refused.err


def test_what_would_be_refused_is_warned_of(shop: Run) -> None:
    member = new_wallet()
    ok(shop("mint", members(f"{member},,")))
    warned = shop("vouchers", "create", "--to", member)
    assert json.loads(ok(warned))["voucher"]["to"] == member
    assert f"Warning: {member} already holds it. As things stand, the claim would be refused." in warned.err
    assert "claim would be refused" not in shop("vouchers", "create", "--to", member, "--stamp", "latte").err
    assert "is below the tier" in shop("vouchers", "create", "--to", member, "--stamp", "tasting").err
    ok(shop("revoke", member, "--reason", "a test"))
    assert "was removed from the program" in shop("vouchers", "create", "--to", member).err


def test_the_programs_own_contracts_get_no_voucher(shop: Run) -> None:
    (recorded,) = json.loads(ok(shop("export")))
    refused = shop("vouchers", "create", "--to", recorded["stamps"])
    assert refused.status == 2
    assert "is the program's own contract for stamps, not a wallet" in refused.err


def test_a_stamp_has_neither_tier_nor_expiry(shop: Run) -> None:
    refused = shop("vouchers", "create", "--to", new_wallet(), "--stamp", "latte", "--tier", "gold")
    assert refused.status == 2
    assert "--stamp: a stamp has neither tier nor expiry (leave --tier and --expiry out)" in refused.err


# -------------------------------------------------------------------------------------------------------------- writing


def test_a_file_that_came_in_between_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "voucher.json"
    file.write_text("precious")
    with pytest.raises(BadInput, match="1 problem"):
        _write_new(file, "new")
    assert file.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput) as caught:
        _write_new(tmp_path / "voucher.json", "new")
    assert caught.value.problems[0].what == "can't be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_links_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(_source: object, _target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    file = tmp_path / "voucher.json"
    _write_new(file, "new\n")
    assert file.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(BadInput):
        _write_new(file, "other")
    assert file.read_text() == "new\n"
