"""Keys in AWS KMS on the command line: added once, shown with where they lie, and used like any other."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest import MonkeyPatch

from tests.app.build import new_wallet, program_text
from tests.cli.conftest import Ran, Run
from tests.vault.fake_kms import ACCESS_KEY, ADDRESS, DENIED, REGION, SECRET_KEY, THROTTLED, FakeKms, set_credentials


@pytest.fixture
def kms(monkeypatch: MonkeyPatch) -> Iterator[FakeKms]:
    set_credentials(monkeypatch)
    with FakeKms() as kms:
        yield kms


def ok(ran: Ran) -> str:
    assert ran.status == 0, ran.err
    return ran.out


def test_a_key_in_kms_is_added_and_shown_with_where_it_lies(run: Run, kms: FakeKms) -> None:
    added = run("keys", "add-kms", "hot", "--key-id", kms.arn, "--endpoint", kms.url)
    assert ok(added).split() == ["hot", ADDRESS]
    assert kms.arn in added.err
    assert "Password" not in added.err
    cold = ok(run("keys", "new", "cold")).split()[1]
    kms.calls.clear()
    lines = [line.split(maxsplit=2) for line in ok(run("keys", "show")).splitlines()]
    assert lines == [
        ["key", "address", "where"],
        ["cold", cold, "here, encrypted"],
        ["hot", ADDRESS, f"AWS KMS, {kms.arn}"],
    ]
    assert json.loads(ok(run("keys", "show", "--json"))) == {"cold": cold, "hot": ADDRESS}
    assert kms.calls == []


def test_an_alias_is_added_as_the_key_it_stands_for(run: Run, kms: FakeKms) -> None:
    added = ("keys", "add-kms", "hot", "--key-id", "alias/minter", "--region", REGION, "--endpoint", kms.url)
    assert kms.arn in run(*added).err
    assert kms.arn in ok(run("keys", "show"))


def test_a_second_key_of_the_name_is_refused(run: Run, kms: FakeKms) -> None:
    arguments = ("keys", "add-kms", "hot", "--key-id", kms.arn, "--endpoint", kms.url)
    ok(run(*arguments))
    again = run(*arguments)
    assert (again.status, again.out) == (3, "")
    assert "there is a key 'hot' already" in again.err
    assert run("keys", "new", "hot").status == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key-id", "not a key"), "is not the name of a key in AWS KMS"),
        (("--key-id", "1234", "--region", "Frankfurt am Main"), "is not an AWS region"),
        (("--key-id", "1234", "--region", REGION, "--endpoint", "http://kms.example"), "not an https:// address"),
        (("--key-id", "1234"), "AWS region is not known"),
    ],
)
def test_what_can_be_no_key_is_said(run: Run, kms: FakeKms, arguments: tuple[str, ...], said: str) -> None:
    wrong = run("keys", "add-kms", "hot", *arguments)
    assert (wrong.status, wrong.out) == (3, "")
    assert said in wrong.err
    assert "Mend:" in wrong.err
    assert not Path(".nftloyalty/keys").exists()


@pytest.mark.parametrize(("refusal", "said"), [(DENIED, "kms:GetPublicKey and kms:Sign"), (THROTTLED, "run it again")])
def test_a_refusal_of_aws_says_what_helps_and_names_no_credentials(
    run: Run, kms: FakeKms, refusal: tuple[int, str], said: str
) -> None:
    kms.refuse = lambda operation: refusal
    wrong = run("keys", "add-kms", "hot", "--key-id", kms.arn, "--endpoint", kms.url)
    assert (wrong.status, wrong.out) == (3, "")
    assert said in wrong.err
    assert not any(secret in wrong.err for secret in (ACCESS_KEY, SECRET_KEY, "assumed-role"))


def test_a_day_with_a_minter_in_kms(run: Run, kms: FakeKms) -> None:
    Path("program.toml").write_text(program_text())
    for name in ("owner", "desk", "guard"):
        ok(run("keys", "new", name))
    ok(run("keys", "add-kms", "hot", "--key-id", kms.arn, "--endpoint", kms.url))
    for name in ("owner", "hot"):
        ok(run("keys", "fund", name, "--coins", "5"))
    ok(run("deploy"))
    wallets = [new_wallet() for _ in range(2)]
    Path("members.csv").write_text(
        "\n".join(["address,tier,expiry", *(f"{each},gold,never" for each in wallets)]) + "\n"
    )
    ok(run("mint", "members.csv"))
    ok(run("verify", wallets[0]))
    assert kms.calls.count("Sign") == 1
