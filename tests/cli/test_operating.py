"""Operating a program from the command line: signers, what waits, an edited file; and errors that tell the truth."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest import MonkeyPatch

from nftloyalty.app.sending import Sender
from nftloyalty.config import from_environment
from tests.app.build import PASSWORD, new_wallet, program_text
from tests.cli.conftest import Ran, Run
from tests.cli.test_commands import members, ok


@pytest.fixture
def shop(run: Run) -> Run:
    """A folder with a program that is open."""
    Path("program.toml").write_text(program_text())
    for name in ("owner", "hot", "desk", "guard"):
        ok(run("keys", "new", name))
        ok(run("keys", "fund", name, "--coins", "5"))
    ok(run("deploy"))
    return run


@contextmanager
def killed_at(step: str, monkeypatch: MonkeyPatch) -> Iterator[None]:
    """As kill -9 would: nothing that follows is done."""

    def killed(*_: object, **__: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as broken:
        broken.setattr("nftloyalty.app.acting._take_back", lambda *_: None)
        if step == "work":
            broken.setattr("nftloyalty.app.minting.work", killed)
        else:
            broken.setattr(Sender, step, killed)
        yield


def use_elsewhere(shop: Run) -> None:
    """The key hot sends a coin from another wallet program."""
    from nftloyalty.app.keyring import signer_of
    from tests.app.build import app_of
    from tests.chain.opened import transact

    app = app_of(
        from_environment({**os.environ, "NFTLOYALTY_KEY_PASSWORD": PASSWORD, "NFTLOYALTY_KEY_PASSWORD_FILE": ""})
    )
    try:
        assert transact(app.node, signer_of(app, "hot"), new_wallet(), b"", 1).succeeded
    finally:
        app.close()


def json_of(ran: Ran) -> Any:
    return json.loads(ok(ran))


# -------------------------------------------------------------------------------------------------------------- signers


def test_signers_are_shown(shop: Run, monkeypatch: MonkeyPatch) -> None:
    with killed_at("_send", monkeypatch):
        assert shop("mint", members(f"{new_wallet()},gold,never")).status == 9
    shown = {each["key"]: each for each in json_of(shop("signers", "--json"))}
    assert shown == {each["key"]: each for each in json_of(shop("signers", "show", "--json"))}
    hot = shown["hot"]
    assert (hot["powers"], hot["next_nonce"], hot["chain_nonce"], hot["halted"]) == (["minter", "signer"], 1, 0, None)
    assert [(slot["nonce"], slot["state"], slot["attempts"]) for slot in hot["slots"]] == [(0, "broadcasting", 1)]
    assert shown["guard"]["next_nonce"] is None
    text = ok(shop("signers"))
    assert re.search(rf"^hot +{hot['address']} +minter,signer +[\d.]+ +0 +1 +1 +0 +", text, re.MULTILINE)
    assert f"hot nonce 0: mint-card, broadcasting, 0 s old, signed 1 times, {hot['slots'][0]['transaction']}" in re.sub(
        r"\d s old", "0 s old", text
    )


def test_a_halted_signer_goes_on_after_a_look(shop: Run) -> None:
    ok(shop("mint", members(f"{new_wallet()},gold,never")))
    use_elsewhere(shop)
    file = members(f"{new_wallet()},gold,never")
    halted = shop("mint", file)
    assert halted.status == 3
    assert "is halted: foreign nonce 1" in halted.err
    assert "hot is halted: foreign nonce 1" in ok(shop("signers"))
    asked = shop("signers", "resume", "hot")
    assert asked.status == 2
    assert "nonce 1, block" in asked.err
    assert "sent to 0x" in asked.err
    assert "--yes" in asked.err
    resumed = shop("signers", "resume", "hot", "--yes")
    assert ok(resumed) == "hot goes on with nonce 2. Run what was stopped again.\n"
    assert "1 of 1 minted, all final." in ok(shop("mint", file))
    again = shop("signers", "resume", "hot", "--yes")
    assert again.status == 3
    assert "is not halted, and chain and books agree; nothing was changed" in again.err


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_question_is_answered_at_the_terminal(shop: Run, monkeypatch: MonkeyPatch, answer: str, status: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    ok(shop("mint", members(f"{new_wallet()},gold,never")))
    use_elsewhere(shop)
    assert shop("mint", members(f"{new_wallet()},gold,never")).status == 3
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    asked = shop("signers", "resume", "hot")
    assert asked.status == status
    assert "Write this down and go on with nonce 2? [y/N]" in asked.err
    assert ("Nothing was changed." in asked.err) == (status == 1)
    shown = {each["key"]: each for each in json_of(shop("signers", "--json"))}
    assert (shown["hot"]["halted"] is None) == (status == 0)


# -------------------------------------------------------------------------------------------------------------- waiting


def test_what_waits_is_shown_and_withdrawn_and_asked_for_again(shop: Run, monkeypatch: MonkeyPatch) -> None:
    assert ok(shop("waiting")) == "Nothing waits.\n"
    file = members(f"{new_wallet()},gold,never", f"{new_wallet()},,")
    with killed_at("work", monkeypatch):
        assert shop("mint", file).status == 9
    (shown,) = json_of(shop("waiting", "--json"))
    assert (shown["kind"], shown["waiting"], shown["under_way"], shown["key"]) == ("mint-card", 2, 0, "hot")
    assert "run `nftloyalty mint` with the same file again" in shown["why"]
    assert re.search(r"^mint-card +- +2 +0 +\d+ s +hot +nothing is sending it", ok(shop("waiting")), re.MULTILINE)
    assert json_of(shop("waiting", "cancel", "--kind", "mint-stamp", "--json"))["cancelled"] == 0
    assert ok(shop("waiting", "cancel", "--all")) == "2 withdrawn.\n"
    assert json_of(shop("waiting", "show", "--json")) == []
    assert "2 of 2 minted" in ok(shop("mint", file))


def test_what_is_under_way_is_not_withdrawn(shop: Run, monkeypatch: MonkeyPatch) -> None:
    file = members(f"{new_wallet()},gold,never")
    with killed_at("_send", monkeypatch):
        assert shop("mint", file).status == 9
    cancelled = shop("waiting", "cancel", "--all")
    assert ok(cancelled) == "0 withdrawn.\n"
    assert "1 are in transactions already" in cancelled.err
    assert "1 of 1 minted" in ok(shop("mint", file))


def test_a_stopped_act_tells_what_stays(shop: Run, monkeypatch: MonkeyPatch) -> None:
    wallet = new_wallet()
    ok(shop("mint", members(f"{wallet},member,never")))

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Sender, "_send", stopped)
        tier = shop("tier", wallet, "gold")
    assert tier.status == 130
    assert (
        f"Under way: 1 (make {wallet} Gold). It may be mined yet; to see it end, run the same command again, or "
        "`nftloyalty worker`." in tier.err
    )
    assert tier.err.rstrip().endswith("Stopped. Nothing is lost: run the same command again to go on.")
    ok(shop("tier", wallet, "gold"))


def test_a_renewal_by_days_is_not_doubled_by_a_rerun(shop: Run, monkeypatch: MonkeyPatch) -> None:
    wallet = new_wallet()
    ok(shop("mint", members(f"{wallet},member,2040-01-01")))
    with monkeypatch.context() as broken:
        # Killed when all is done and nothing is printed yet.
        broken.setattr("nftloyalty.cli.governing.show_done", lambda done: sys.exit(9))
        assert shop("renew", wallet, "--days", "10").status == 9
    again = shop("renew", wallet, "--days", "10")
    ok(again)
    assert "is finished now; no further term was added" in again.err
    assert "valid through 2040-01-11 (UTC)" in again.err
    assert "valid through 2040-01-21 (UTC)" in shop("renew", wallet, "--days", "10").err


# --------------------------------------------------------------------------------------------------------------- update


def test_an_edited_file_is_carried_out(shop: Run) -> None:
    nothing = shop("update")
    ok(nothing)
    assert "Nothing is to be changed on chain." in nothing.err
    text = Path("program.toml").read_text()
    edited = text.replace('name = "Gold"', 'name = "Platinum"').replace('symbol = "BEAN"', 'symbol = "BEAN"\ncap = 9')
    Path("program.toml").write_text(edited.replace('symbol = "BEAN"', 'symbol = "OTHER"'))
    told = ok(shop("deploy"))
    assert 'differs: tiers[2].name: "Platinum" in program.toml, "Gold" on chain' in told
    assert "(can never change)" in told
    assert "`nftloyalty update` changes on chain what can be changed." in told
    assert "nftloyalty update" in shop("mint", members(f"{new_wallet()},gold,never")).err

    dry = shop("update", "--dry-run", "--json")
    # The symbol stays as it is, so not all of the file can be made true.
    assert dry.status == 1
    plan = json.loads(dry.out)
    assert plan["changes"] == ["set the cap of cards to 9", 'call the tiers "Member", "Platinum"']
    assert [stays.split(":")[0] for stays in plan["stays"]] == ["program.symbol"]
    assert int(plan["cost_wei"]) > 0
    asked = shop("update")
    assert asked.status == 2
    assert "1. set the cap of cards to 9" in asked.err
    assert "differs: program.cap: 9 in program.toml, no cap on chain" in asked.err
    assert json.loads(shop("update", "--dry-run", "--json").out) == plan

    done = shop("update", "--yes")
    assert (done.status, done.out) == (1, "2 changes made.\n")
    assert "stays: program.symbol" in done.err
    assert "start it anew" in done.err
    again = json.loads(shop("update", "--json").out)
    assert (again["changes"], again["transactions"], again["to_sign"]) == ([], [], [])
    assert json_of(shop("mint", members(f"{new_wallet()},gold,never"), "--json"))["final"] == 1


def test_an_owner_elsewhere_gets_the_transactions(shop: Run, monkeypatch: MonkeyPatch) -> None:
    safe = new_wallet()
    monkeypatch.setattr("nftloyalty.app.updating.key_name", lambda app, name: None)
    monkeypatch.setattr("nftloyalty.app.acting.key_name", lambda app, name: None)
    Path("program.toml").write_text(
        Path("program.toml").read_text().replace('symbol = "BEAN"', 'symbol = "BEAN"\ncap = 9')
    )
    told = shop("update")
    (transaction,) = json_of(told)
    assert transaction["data"].startswith("0x") and transaction["value"] == "0"
    assert "is not here" in told.err
    assert safe not in told.out


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_refusal_of_the_contract_is_a_sentence_with_a_mend(shop: Run) -> None:
    ok(shop("pause"))
    again = shop("pause")
    assert again.status == 3
    assert again.err == "Error: the program is paused\nMend: the owner ends the pause with `nftloyalty unpause`\n"
    ok(shop("unpause"))
    assert "the program is not paused" in shop("unpause").err


def test_a_fault_of_ours_is_told_with_where_it_was(run: Run, monkeypatch: MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a\x1b[31mword")

    monkeypatch.setattr("nftloyalty.cli.programs.deploying.exported", broken)
    fault = run("export")
    assert (fault.status, fault.out) == (4, "")
    # What it says may hold anything.
    assert "Unexpected: KeyError\n" in fault.err
    assert "word" not in fault.err
    assert "\x1b" not in fault.err
    assert re.search(r"nftloyalty/cli/programs\.py:\d+ in export", fault.err)
    assert "Please report it" in fault.err


def test_a_database_that_fails_in_the_middle_is_told(run: Run, monkeypatch: MonkeyPatch) -> None:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    def full(*_: object) -> None:
        failure = sqlite3.OperationalError("database or disk is full")
        failure.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise OperationalError("INSERT", {}, failure)

    monkeypatch.setattr("nftloyalty.app.deploying.programs.export", full)
    told = run("export")
    assert told.status == 3
    assert "can't be used: database or disk is full" in told.err
    assert "Mend: make room on the disk" in told.err


def test_the_option_that_was_used_is_named(run: Run) -> None:
    wrong = run("--rpc", "localhost:18745", "keys", "show")
    assert wrong.status == 2
    assert "--rpc: is not an http:// or https:// address" in wrong.err
    assert "NFTLOYALTY_RPC_URL" not in wrong.err
    missing = run("--password-file", "nofile", "keys", "show")
    assert "--password-file: nofile: there is no such file" in missing.err
    Path("folder").mkdir()
    assert "is a folder" in run("--password-file", "folder", "keys", "show").err


def test_the_setting_that_was_used_is_named(run: Run, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("NFTLOYALTY_RPC_URL", "localhost:18745")
    assert "NFTLOYALTY_RPC_URL: is not an http:// or https:// address" in run("keys", "show").err


def test_files_that_others_can_read_are_warned_of(run: Run, tmp_path: Path) -> None:
    quiet = run("keys", "show")
    assert "Warning" not in quiet.err
    Path(".nftloyalty").chmod(0o755)
    Path(".nftloyalty/nftloyalty.db").chmod(0o644)
    (tmp_path / "password").chmod(0o640)
    warned = run("keys", "show")
    ok(warned)
    loose = [line for line in warned.err.splitlines() if line.startswith("Warning: others on this machine can read")]
    assert len(loose) == 3
    assert any(str(tmp_path / "password") in line for line in loose)
    Path(".nftloyalty").chmod(0o700)
    Path(".nftloyalty/nftloyalty.db").chmod(0o600)
    (tmp_path / "password").chmod(0o600)
    assert "Warning" not in run("keys", "show").err


def test_a_wrong_name_is_told_before_a_password_is_asked_for(run: Run, monkeypatch: MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, stream: object = None) -> str:
        asked.append(question)
        return "short" if "Password" in question else "zz"

    monkeypatch.delenv("NFTLOYALTY_KEY_PASSWORD_FILE")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", answer)
    assert "can't be the name of a key" in run("keys", "new", "Desk 2").err
    assert asked == []
    assert "at least 8 characters" in run("keys", "new", "desk").err
    assert asked == ["Password for the new key desk (at least 8 characters): "]
    assert "this is not a private key" in run("keys", "import", "old").err
    assert len(asked) == 2


def test_serve_asks_for_the_password_before_anybody_can_connect(shop: Run, tmp_path: Path) -> None:
    """A client that connects to a port that listens would wait until the operator has typed."""
    password, port = tmp_path / "typed", free_port()
    os.mkfifo(password, 0o600)
    process = subprocess.Popen(
        [*COMMAND, "--password-file", str(password), "serve", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Opening the pipe waits until the command reads its password.
        with password.open("w") as typed:
            with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
                pass
            typed.write(PASSWORD + "\n")
        assert process.stderr is not None
        assert f"at http://127.0.0.1:{port}" in process.stderr.readline()
    finally:
        process.kill()
        process.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("command", ["serve", "chain", "demo"])
def test_a_port_that_is_taken_is_told_with_the_option_to_change(shop: Run, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = shop(command, "--port", str(port))
    assert refused.status == 2
    assert f"--port: port {port} on 127.0.0.1 is taken" in refused.err
    assert f"nftloyalty {command} --port {port + 1}" in refused.err


COMMAND = (sys.executable, "-c", "from nftloyalty.cli.main import main; main()")


@pytest.mark.parametrize("arguments", [("keys", "show"), ("keys", "show", "--json"), ("export",)])
def test_a_reader_that_goes_away_is_no_error(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """`nftloyalty export | head -0`: quiet, and with a status that is no answer."""
    ok(run("keys", "new", "owner"))
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (141, "")
