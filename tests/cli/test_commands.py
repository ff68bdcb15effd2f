"""The operator's day on the command line, and what it says when something is wrong.

Exit status: 0 done or yes, 1 no, 2 the input is wrong, 3 something stands in the way, 4 a fault of ours.
"""

import io
import json
import re
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from pytest import MonkeyPatch

from nftloyalty.app.compiling import Compiled
from nftloyalty.cli.main import app
from tests.app.build import PASSWORD, new_wallet, program_text
from tests.chain.opened import key
from tests.cli.conftest import Ran, Run

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\b")


def ok(ran: Ran) -> str:
    assert ran.status == 0, ran.err
    return ran.out


@pytest.fixture
def shop(run: Run) -> Run:
    """A folder with a program that is open."""
    Path("program.toml").write_text(program_text())
    for name in ("owner", "hot", "desk", "guard"):
        ok(run("keys", "new", name))
        ok(run("keys", "fund", name, "--coins", "5"))
    ok(run("deploy"))
    return run


def members(*rows: str) -> str:
    Path("members.csv").write_text("\n".join(["address,tier,expiry", *rows]) + "\n")
    return "members.csv"


# ----------------------------------------------------------------------------------------------------------------- keys


def test_keys_are_made_imported_and_shown(run: Run) -> None:
    made = ok(run("keys", "new", "owner"))
    secret = "11" * 32
    Path("secret").write_text("0x" + secret + "\n")
    imported = ok(run("keys", "import", "old", "--file", "secret"))
    shown = json.loads(ok(run("keys", "show", "--json")))
    assert made.split() == ["owner", shown["owner"]]
    assert imported.split() == ["old", shown["old"]]
    assert shown["old"] == key(int(secret, 16)).address
    assert ADDRESS.findall(ok(run("keys", "show"))) == [shown["old"], shown["owner"]]
    taken = run("keys", "new", "owner")
    assert (taken.status, taken.out) == (3, "")
    assert "there is a key 'owner' already" in taken.err


def test_a_key_is_read_from_stdin(run: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("22" * 32))
    assert ok(run("keys", "import", "piped", "--file", "-")).startswith("piped 0x")


@pytest.mark.parametrize("content", ["zz", "", "11" * 31, "00" * 32])
def test_what_is_no_key_is_refused_and_not_shown(run: Run, content: str) -> None:
    Path("secret").write_text(content)
    refused = run("keys", "import", "old", "--file", "secret")
    assert refused.status == 3
    assert "this is not a private key" in refused.err
    assert not content or content not in refused.err


def test_a_short_password_is_refused(run: Run) -> None:
    Path("short").write_text("1234\n")
    refused = run("--password-file", "short", "keys", "new", "owner")
    assert refused.status == 3
    assert "at least 8 characters" in refused.err
    assert "1234" not in refused.out + refused.err


def test_without_a_terminal_the_way_to_give_a_password_is_told(run: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.delenv("NFTLOYALTY_KEY_PASSWORD_FILE")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refused = run("keys", "new", "owner")
    assert refused.status == 3
    assert "--password-file" in refused.err


def test_an_answer_that_is_not_given_is_no_crash(run: Run, monkeypatch: MonkeyPatch) -> None:
    def hung_up(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.delenv("NFTLOYALTY_KEY_PASSWORD_FILE")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", hung_up)
    refused = run("keys", "new", "owner")
    assert refused.status == 3
    assert "no answer was given" in refused.err


def test_two_different_passwords_make_no_key(run: Run, monkeypatch: MonkeyPatch) -> None:
    answers = iter(["first password", "second password"])
    monkeypatch.delenv("NFTLOYALTY_KEY_PASSWORD_FILE")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: next(answers))
    refused = run("keys", "new", "owner")
    assert refused.status == 3
    assert "the two passwords differ" in refused.err
    assert json.loads(ok(run("keys", "show", "--json"))) == {}


def test_a_wrong_address_is_told_and_not_a_crash(run: Run) -> None:
    refused = run("keys", "fund", "0x123")
    assert refused.status == 2
    assert "0x123: not an address" in refused.err


# ----------------------------------------------------------------------------------------------------------------- init


def test_init_writes_a_program_that_can_be_read_and_never_overwrites(run: Run) -> None:
    said = ok(run("init", "--brand", "Morning Bean"))
    assert "nftloyalty keys fund owner" in said
    text = Path("program.toml").read_text()
    assert 'brand = "Morning Bean"' in text
    again = run("init", "--brand", "Another")
    assert again.status == 2
    assert "is there already" in again.err
    assert Path("program.toml").read_text() == text


def test_init_in_a_folder_that_is_not_there_is_told(run: Run) -> None:
    refused = run("--program", "nowhere/program.toml", "init")
    assert refused.status == 2
    assert "can't be written: No such file or directory" in refused.err


@pytest.mark.parametrize("brand", ["", "x" * 500, "a\nb"])
def test_a_brand_that_can_not_be_is_told(run: Run, brand: str) -> None:
    refused = run("init", "--brand", brand)
    assert refused.status == 2
    assert not Path("program.toml").exists()


# --------------------------------------------------------------------------------------------------------------- deploy


def test_deploy_twice(shop: Run) -> None:
    again = json.loads(ok(shop("deploy", "--json")))
    assert (again["already_open"], again["transactions"], again["differences"]) == (True, [], [])
    assert "Already open at" in ok(shop("deploy"))
    text = Path("program.toml").read_text()
    Path("program.toml").write_text(text.replace('name = "Gold"', 'name = "[bold]Platin"'))
    assert 'differs: tiers[2].name: "[bold]Platin" in program.toml, "Gold" on chain' in ok(shop("deploy"))
    (recorded,) = json.loads(ok(shop("export")))
    assert recorded["membership"] == again["membership"]


def test_a_dry_run_tells_the_steps_and_the_cost_and_sends_nothing(run: Run) -> None:
    Path("program.toml").write_text(program_text())
    for name in ("owner", "hot", "desk", "guard"):
        ok(run("keys", "new", name))
    ok(run("keys", "fund", "owner", "--coins", "5"))
    told = ok(run("deploy", "--dry-run", "--price", "2500", "--coin", "ETH"))
    assert "Nothing is sent" in told
    assert "open Bean Club" in told
    assert "ETH" in told
    plan = json.loads(ok(run("deploy", "--dry-run", "--json", "--price", "2500")))
    assert plan["steps"][-1] == "open the program"
    assert not plan["already_open"]
    assert int(plan["cost_wei"]) > 0
    assert (plan["coin"], plan["price"], plan["data_fee_included"]) == ("ETH", "2500", True)
    assert Decimal(plan["cost_in_money"]) == Decimal(plan["cost_wei"]) * 2500 / 10**18
    assert json.loads(ok(run("deploy", "--dry-run", "--json")))["cost_in_money"] is None
    assert json.loads(ok(run("export"))) == []


def test_a_dry_run_that_could_not_be_paid_says_so_with_its_status(run: Run) -> None:
    Path("program.toml").write_text(program_text())
    for name in ("owner", "hot", "desk", "guard"):
        ok(run("keys", "new", name))
    for arguments in (("deploy", "--dry-run"), ("deploy", "--dry-run", "--json")):
        tried = run(*arguments)
        assert tried.status == 3
        assert "has 0.000000 coins and needs about" in tried.err
        assert "open" in tried.out
    poor = run("deploy")
    assert poor.status == 3
    assert "has 0.000000 coins and needs about" in poor.err
    assert json.loads(ok(run("export"))) == []


@pytest.mark.parametrize("price", ["abc", "-1", "NaN", "Infinity"])
def test_a_price_that_is_none_is_refused(run: Run, price: str) -> None:
    Path("program.toml").write_text(program_text())
    assert run("deploy", "--dry-run", f"--price={price}").status == 2


def test_a_wrong_program_is_told_with_every_problem(run: Run) -> None:
    missing = run("deploy")
    assert missing.status == 2
    assert "nftloyalty init" in missing.err
    Path("program.toml").write_text(program_text(terms="cap = -1\nsybmol = 3"))
    wrong = run("deploy")
    assert wrong.status == 2
    assert "program.cap" in wrong.err
    assert "sybmol" in wrong.err
    Path("program.toml").write_bytes(b"\xff\xfe")
    assert run("deploy").status == 2


def test_a_node_that_is_away_is_told(run: Run) -> None:
    Path("program.toml").write_text(program_text())
    for name in ("owner", "hot", "desk", "guard"):
        ok(run("keys", "new", name))
    away = run("--rpc", "http://127.0.0.1:9", "deploy")
    assert (away.status, away.out) == (3, "")
    assert "no answer from the node at http://127.0.0.1:9" in away.err


def test_wrong_settings_are_told(run: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("NFTLOYALTY_WINDOW", "1.5")
    monkeypatch.setenv("NFTLOYALTY_RPC_TIMEOUT", "soon")
    wrong = run("keys", "show")
    assert wrong.status == 2
    assert "NFTLOYALTY_WINDOW" in wrong.err
    assert "NFTLOYALTY_RPC_TIMEOUT" in wrong.err


def test_a_database_that_is_away_is_told_without_its_password(run: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://loyal:s3cr3t-word@127.0.0.1:9/loyalty?connect_timeout=2")
    away = run("export")
    assert away.status == 3
    assert "can't be used" in away.err
    assert "s3cr3t" not in away.err


# ----------------------------------------------------------------------------------------------------------------- mint


def test_a_file_is_minted_checked_and_stamped(shop: Run) -> None:
    gold, plain = new_wallet(), new_wallet()
    file = members(f"{gold},gold,never", f"{plain},,2049-12-31")
    plan = json.loads(ok(shop("mint", file, "--dry-run", "--json")))
    assert (plan["rows"], plan["to_do"], plan["done"]) == (2, 2, 0)
    report = json.loads(ok(shop("mint", file, "--json")))
    assert (report["total"], report["final"], report["rejected"]) == (2, 2, [])
    assert "2 of 2 minted, all final." in ok(shop("mint", file))
    Path("guests.csv").write_text(f"address\n{gold}\n")
    assert "1 of 1 minted" in ok(shop("stamp", "latte", "guests.csv"))
    assert "Answer   yes" in ok(shop("verify", gold, "--tier", "gold", "--stamp", "latte"))
    no = shop("verify", plain, "--tier", "gold", "--json")
    assert no.status == 1
    found = json.loads(no.out)
    assert (found["allowed"], found["card"]["tier"]) == (False, "member")
    assert [reason["code"] for reason in found["reasons"]] == ["below_tier"]


def test_bad_rows_are_named_and_nothing_is_sent(shop: Run) -> None:
    file = members("nobody,gold,never", f"{new_wallet()},platinum,never")
    refused = shop("mint", file)
    assert (refused.status, refused.out) == (2, "")
    assert "line 2: 'nobody': not an address" in refused.err
    assert "line 3: unknown tier 'platinum'" in refused.err
    assert shop("mint", "missing.csv").status == 2
    assert shop("stamp", "tea", file).status == 2


def test_a_file_from_a_spreadsheet_is_read(shop: Run) -> None:
    Path("members.csv").write_bytes(b"\xef\xbb\xbfaddress;tier\r\n" + f"{new_wallet()};gold\r\n".encode())
    assert json.loads(ok(shop("mint", "members.csv", "--json")))["final"] == 1


# --------------------------------------------------------------------------------------------------------------- powers


def test_powers_on_the_command_line(shop: Run) -> None:
    wallet = new_wallet()
    ok(shop("mint", members(f"{wallet},member,2040-01-01")))
    assert "Done in transaction 0x" in ok(shop("tier", wallet, "gold"))
    renewed = shop("renew", wallet, "--until", "2045-06-30")
    assert "valid through 2045-06-30 (UTC)" in renewed.err
    again = shop("renew", wallet, "--until", "2045-06-30")
    assert again.status == 3
    assert "nothing was sent" in again.err
    ok(shop("revoke", wallet, "--reason", "a test"))
    ok(shop("readmit", wallet, "--tier", "gold", "--expiry", "never"))
    ok(shop("quota", "set", "cards", "mint", "5"))
    assert re.search(r"cards +mint +2 +5\n", ok(shop("quota", "show")))
    ok(shop("pause"))
    paused = shop("mint", members(f"{new_wallet()},,"))
    assert paused.status == 3
    assert "the program is paused; nothing was sent" in paused.err
    ok(shop("unpause"))


def test_addresses_are_never_cut(shop: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    named = set(json.loads(ok(shop("keys", "show", "--json"))).values())
    shown = ok(shop("roles", "show"))
    assert named <= set(ADDRESS.findall(shown))
    assert "…" not in shown
    lines = shown.splitlines()
    assert lines[0].split() == ["address", "key", "on", "chain", "in", "program.toml"]
    assert all(line.startswith("0x") for line in lines[1:])


def test_what_is_signed_elsewhere_is_printed_as_json(shop: Run) -> None:
    safe = new_wallet()
    asked = shop("handover", "request", safe)
    transaction = json.loads(ok(asked))
    assert transaction["from"] == safe
    assert transaction["data"].startswith("0x")
    assert "is not here" in asked.err
    assert shop("handover", "complete", safe).status == 3


@pytest.mark.parametrize(
    "command",
    [
        ("renew", "0x" + "1" * 40),
        ("renew", "0x" + "1" * 40, "--until", "2040-01-01", "--days", "3"),
        ("renew", "0x" + "1" * 40, "--until", "soon"),
        ("renew", "0x" + "1" * 40, "--until", "2001-01-01"),
        ("renew", "0x" + "1" * 40, "--until", "2040-01-01T10:00"),
        ("revoke", "0x12", "--reason", "x"),
        ("verify", "0x12"),
        ("roles", "grant", "minter", "0x12"),
        ("roles", "grant", "king", "hot"),
        ("quota", "set", "cards", "mint", "99999999"),
        ("vouchers", "create", "--to", "0x12"),
        ("vouchers", "create", "--to", "0x" + "1" * 40, "--stamp", "latte", "--tier", "gold"),
        ("serve", "--host", "192.0.2.1"),
        ("nothing",),
        ("waiting", "cancel"),
        ("waiting", "cancel", "--all", "--kind", "mint-card"),
        ("waiting", "cancel", "--address", "0x12"),
        ("update", "--price", "x"),
        ("--rpc", "localhost:18745", "keys", "show"),
        ("--password-file", "nofile", "keys", "show"),
    ],
)
def test_wrong_input_is_status_2(shop: Run, command: tuple[str, ...]) -> None:
    refused = shop(*command)
    assert (refused.status, refused.out) == (2, ""), refused.err
    assert refused.err


# ------------------------------------------------------------------------------------------------------------- vouchers


def test_a_voucher_is_printed_or_written(shop: Run) -> None:
    wallet = new_wallet()
    printed = json.loads(ok(shop("vouchers", "create", "--to", wallet, "--tier", "gold", "--expiry", "2040-01-01")))
    assert printed["voucher"]["to"] == wallet
    assert printed["voucher"]["tier"] == 2
    assert ok(shop("vouchers", "create", "--to", wallet, "--stamp", "latte", "--out", "voucher.json")) == (
        "Wrote voucher.json.\n"
    )
    assert json.loads(Path("voucher.json").read_text())["voucher"]["kind"] == "stamp"
    nowhere = shop("vouchers", "create", "--to", wallet, "--out", "no/such/folder.json")
    assert nowhere.status == 2
    assert "can't be written" in nowhere.err


# -------------------------------------------------------------------------------------------------------------- secrets


def test_passwords_and_keys_are_nowhere(shop: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    secret = "5e" * 32
    Path("secret").write_text(secret)
    printed = [shop("keys", "import", "extra", "--file", "secret"), shop("keys", "fund", "extra")]
    Path("secret").unlink()
    (tmp_path / "wrong").write_text("a wrong password\n")
    wallet = new_wallet()
    printed += [
        shop("mint", members(f"{wallet},gold,never")),
        shop("--password-file", str(tmp_path / "wrong"), "pause"),
        shop("vouchers", "create", "--to", wallet),
        shop("tier", wallet, "member"),
        shop("keys", "show"),
        shop("export"),
    ]
    assert printed[3].status == 3
    everything = "".join(ran.out + ran.err for ran in printed) + caplog.text
    with sqlite3.connect(".nftloyalty/nftloyalty.db") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    files = b"".join(path.read_bytes() for path in Path(".nftloyalty").rglob("*") if path.is_file())
    for word in (PASSWORD, "a wrong password", secret):
        assert word not in everything
        assert word not in dump
        assert word.encode() not in files
        assert bytes.fromhex(secret) not in files


# ---------------------------------------------------------------------------------------------------------------- help


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path."""

    def walk(path: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
        else:
            for name, each in inner.items():
                yield from walk((*path, name), each)

    yield from walk((), typer.main.get_command(app))


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_example_of_every_command_parses(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    example = re.search(r"Example: (nftloyalty .*)", command.help or "")
    assert example, f"{' '.join(path)} has no example"
    words = shlex.split(example[1].partition(" > ")[0])
    assert words[1 : 1 + len(path)] == list(path)
    with command.make_context(" ".join(path), words[1 + len(path) :], resilient_parsing=False) as ctx:
        assert ctx.command is command


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_its_example_on_one_line(run: Run, path: tuple[str, ...]) -> None:
    """So that it can be copied from a narrow terminal."""
    example = re.search(r"Example: nftloyalty .*", COMMANDS[path].help or "")
    assert example
    shown = ok(run(*path, "--help"))
    assert example[0] in [line.strip() for line in shown.splitlines()]
    assert shown.startswith(f"Usage: nftloyalty {' '.join(path)}")


def test_the_version_is_shown(run: Run) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", ok(run("--version")))


def test_ctrl_c_tells_how_to_go_on(run: Run, monkeypatch: MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nftloyalty.cli.programs.deploying.exported", interrupted)
    stopped = run("export")
    assert stopped.status == 130
    assert "run the same command again to go on" in stopped.err


# -------------------------------------------------------------------------------------------------------------- compile


def test_the_verification_input_is_written(run: Run) -> None:
    assert ok(run("compile", "--standard-json", "input.json")) == "Wrote input.json.\n"
    assert json.loads(Path("input.json").read_text())["language"] == "Solidity"


def test_compile_check_tells_what_differs(run: Run, monkeypatch: MonkeyPatch) -> None:

    monkeypatch.setattr(
        "nftloyalty.cli.serving.compiling.compile_all", lambda check: Compiled(5, ("Stamps differs",), ())
    )
    differs = run("compile", "--check")
    assert (differs.status, differs.out) == (1, "Stamps differs\n")
    monkeypatch.setattr("nftloyalty.cli.serving.compiling.compile_all", lambda check: Compiled(5, (), ()))
    assert ok(run("compile", "--check")) == "5 artifacts are as compiled.\n"


def test_upgrade_twice_is_harmless(run: Run) -> None:
    for _ in range(2):
        assert ok(run("upgrade")) == "The database is of this version.\n"


# ------------------------------------------------------------------------------------------------------------- recovery


def test_a_recovery_on_the_command_line(shop: Run) -> None:
    lost, new = new_wallet(), new_wallet()
    ok(shop("mint", members(f"{lost},gold,never")))
    assert shop("recovery", "show", lost).status == 1
    proposed = shop("recovery", "propose", lost, new, "--reason", "phone lost")
    assert ok(proposed).startswith("Done in transaction")
    assert f"can go to {new} from" in proposed.err.replace("\n", " ")
    shown = json.loads(ok(shop("recovery", "show", lost, "--json")))
    assert (shown["from"], shown["to"], shown["serial"]) == (lost, new, 1)
    early = shop("recovery", "execute", lost)
    assert early.status == 3
    assert "can be carried out" in early.err
    ok(shop("recovery", "veto", lost))
    assert json.loads(shop("recovery", "show", lost, "--json").out) == {}
