"""The wiring, passwords, coins on development chains, prices, and what can't work from the start."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nftloyalty.app import funding, upkeep
from nftloyalty.app.context import App, build_app, make_home, password_from, random_id
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.pricing import offered
from nftloyalty.errors import BadInput, ChainProblem, KeyProblem, LoyaltyError
from tests.app.build import COIN, World, app_of, new_wallet, settings_of
from tests.chain.liar import Exchange, Liar

NOWHERE = "http://127.0.0.1:9"


def test_building_asks_nothing_of_the_node(tmp_path: Path) -> None:
    app = build_app(settings_of(tmp_path / "home", NOWHERE))
    app.close()
    assert (tmp_path / "home" / "nftloyalty.db").stat().st_mode & 0o077 == 0


def test_a_home_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for build in (build_app, upkeep.upgrade_database):
        with pytest.raises(BadInput) as refused:
            build(settings_of(tmp_path / "file" / "home", NOWHERE))
        assert refused.value.problems[0].place == str(tmp_path / "file" / "home")


def test_a_new_home_is_kept_out_of_git(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "beans" / "home", NOWHERE)
    with ThreadPoolExecutor(8) as threads:  # as when server and worker are started side by side
        list(threads.map(make_home, [settings] * 16))
    ignored = settings.home / ".gitignore"
    assert ignored.read_text() == "*\n"
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "beans")], check=True)
    (settings.home / "nftloyalty.db").write_text("books")
    status = ["git", "-C", str(tmp_path / "beans"), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, check=True, capture_output=True, text=True).stdout == ""
    ignored.write_text("!keys\n")
    make_home(settings)
    assert ignored.read_text() == "!keys\n"


def test_a_folder_that_was_there_is_kept_out_of_git_by_our_own_name_only(tmp_path: Path) -> None:
    for name in (".nftloyalty", "shop"):
        (tmp_path / name).mkdir()
        make_home(settings_of(tmp_path / name, NOWHERE))
    assert (tmp_path / ".nftloyalty" / ".gitignore").read_text() == "*\n"
    assert list((tmp_path / "shop").iterdir()) == []


def test_a_database_that_can_not_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, NOWHERE, "postgresql://loyal:s3cr3t-word@127.0.0.1:9/loyalty?connect_timeout=2")
    with pytest.raises(LoyaltyError) as refused:
        build_app(settings)
    assert refused.value.code == "database_problem"
    assert "127.0.0.1:9/loyalty" in refused.value.message
    assert "s3cr3t" not in refused.value.message + repr(settings)


def test_one_password_of_the_settings_must_open_all_keys(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    of_file = {"NFTLOYALTY_KEY_PASSWORD": "", "NFTLOYALTY_KEY_PASSWORD_FILE": str(file)}
    for told, given in ((f"the file {file}", of_file), ("NFTLOYALTY_KEY_PASSWORD ", {})):
        with closing(app_of(settings_of(tmp_path / "home", NOWHERE, **given))) as app:
            if "desk" not in app.keystore.names():
                app.keystore.create("desk", "another horse")
            with pytest.raises(KeyProblem, match="does not open the key 'desk'") as refused:
                signer_of(app, "desk")
        assert told in refused.value.mend
        assert "every key that a process uses" in refused.value.mend
    typed = settings_of(tmp_path / "home", NOWHERE, NFTLOYALTY_KEY_PASSWORD="")
    with (
        closing(replace(app_of(typed), password=lambda name: "mistyped")) as app,
        pytest.raises(KeyProblem) as refused,
    ):
        signer_of(app, "desk")
    assert refused.value.mend == "try again with the key's password"


def test_ids_are_random_and_plain() -> None:
    ids = {random_id("int") for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 30 and each.removeprefix("int_").isalnum() for each in ids)


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"correct horse \r\nsecond line\n")
    settings = settings_of(tmp_path, NOWHERE, NFTLOYALTY_KEY_PASSWORD="", NFTLOYALTY_KEY_PASSWORD_FILE=str(file))
    ask = password_from(settings)
    assert ask("owner") == "correct horse "
    # A pipe, as shells make them of a command, can be read once.
    file.unlink()
    assert ask("desk") == "correct horse "


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_password_file_that_can_not_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    settings = settings_of(tmp_path, NOWHERE, NFTLOYALTY_KEY_PASSWORD="", NFTLOYALTY_KEY_PASSWORD_FILE=str(file))
    with pytest.raises(KeyProblem, match="can't be read"):
        password_from(settings)("owner")


def test_without_a_password_the_way_to_give_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem) as refused:
        password_from(settings_of(tmp_path, NOWHERE, NFTLOYALTY_KEY_PASSWORD=""))("owner")
    assert "NFTLOYALTY_KEY_PASSWORD_FILE" in refused.value.mend


@pytest.fixture
def liars_app(tmp_path: Path, liar: Liar) -> App:
    app = app_of(settings_of(tmp_path, f"http://127.0.0.1:{liar.port}"))
    app.close()
    return app


@pytest.mark.parametrize("refuses", [True, False])
def test_a_node_without_accounts_of_its_own_funds_nobody(liars_app: App, liar: Liar, refuses: bool) -> None:
    def answer(exchange: Exchange, request: Any) -> None:
        if refuses:
            exchange.error(request, {"code": -32601, "message": "no such method"})
        else:
            exchange.result(request, [])

    liar.answer = answer
    with pytest.raises(ChainProblem, match="signs for nobody") as refused:
        funding.fund(liars_app, new_wallet(), COIN)
    assert "send coins to" in refused.value.mend
    assert all(request["method"] == "eth_accounts" for request in liar.requests)


def test_funding_gives_coins(world: World) -> None:
    wallet = new_wallet()
    funding.fund(world.app, wallet, 3 * COIN)
    assert world.app.node.balance(wallet) == 3 * COIN


def test_more_is_offered_than_gas_costs_now(world: World) -> None:
    market = world.app.node.fees()
    assert offered(world.app, 100_000) > 100_000 * ((market.base_fee or 0) + market.priority_fee)
