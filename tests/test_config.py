"""Settings from the environment: defaults that work, every mistake named at once, secrets that never show."""

import copy
import pickle
from pathlib import Path

import pytest

from nftloyalty.config import SETTINGS, Secret, from_environment
from nftloyalty.errors import BadInput
from nftloyalty.logs import Form, Level


def problems(**environment: str) -> dict[str, str]:
    """What is wrong, by the variable's name."""
    with pytest.raises(BadInput) as refused:
        from_environment(environment)
    return {problem.place: problem.what for problem in refused.value.problems}


def test_nothing_needs_to_be_set() -> None:
    settings = from_environment({})
    assert settings.home == Path(".nftloyalty")
    assert settings.keys_folder == settings.home / "keys"
    assert settings.database_url == f"sqlite:///{Path('.nftloyalty').resolve() / 'nftloyalty.db'}"
    assert settings.rpc_url == "http://127.0.0.1:8545"
    assert (settings.password, settings.password_file) == (None, None)
    assert (settings.max_fee_wei, settings.window, settings.rpc_timeout_seconds) == (500 * 10**9, 16, 30.0)
    assert (settings.seal_key_file, settings.webhook_networks) == (settings.home / "seal.key", ())


def test_an_empty_variable_is_an_unset_one() -> None:
    assert from_environment({setting.name: "" for setting in SETTINGS}) == from_environment({})


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    settings = from_environment(
        {
            "NFTLOYALTY_HOME": str(tmp_path),
            "DATABASE_URL": "postgresql://user@host/name",
            "NFTLOYALTY_RPC_URL": "https://node.example/v2/key",
            "NFTLOYALTY_RPC_TIMEOUT": "2.5",
            "NFTLOYALTY_KEY_PASSWORD_FILE": str(tmp_path / "password"),
            "NFTLOYALTY_MAX_FEE_GWEI": "0.5",
            "NFTLOYALTY_WINDOW": "64",
            "NFTLOYALTY_SEAL_KEY_FILE": str(tmp_path / "seal"),
            "NFTLOYALTY_WEBHOOK_NETWORKS": "10.1.0.0/16, fd00::/8,127.0.0.1",
        }
    )
    assert settings.home == tmp_path
    assert settings.database_url == "postgresql://user@host/name"
    assert settings.password_file == tmp_path / "password"
    assert (settings.max_fee_wei, settings.window, settings.rpc_timeout_seconds) == (5 * 10**8, 64, 2.5)
    assert settings.seal_key_file == tmp_path / "seal"
    assert [str(each) for each in settings.webhook_networks] == ["10.1.0.0/16", "fd00::/8", "127.0.0.1/32"]


def test_every_mistake_is_named_at_once() -> None:
    found = problems(
        NFTLOYALTY_HOME="~nobody-of-this-name/home",
        NFTLOYALTY_RPC_URL="ftp://node",
        NFTLOYALTY_RPC_TIMEOUT="soon",
        NFTLOYALTY_KEY_PASSWORD="one",
        NFTLOYALTY_KEY_PASSWORD_FILE="two",
        NFTLOYALTY_MAX_FEE_GWEI="-1",
        NFTLOYALTY_WINDOW="65",
        NFTLOYALTY_WEBHOOK_NETWORKS="10.1.0.1/16,fd00::/8",
    )
    assert found.keys() == {
        "NFTLOYALTY_HOME",
        "NFTLOYALTY_RPC_URL",
        "NFTLOYALTY_RPC_TIMEOUT",
        "NFTLOYALTY_KEY_PASSWORD",
        "NFTLOYALTY_MAX_FEE_GWEI",
        "NFTLOYALTY_WINDOW",
        "NFTLOYALTY_WEBHOOK_NETWORKS",
    }


@pytest.mark.parametrize("window", ["0", "65", "1.5", "nan", "inf", "1e1", "16 or so"])
def test_a_window_is_a_whole_number(window: str) -> None:
    assert "is not a whole number from 1 to 64" in problems(NFTLOYALTY_WINDOW=window)["NFTLOYALTY_WINDOW"]


@pytest.mark.parametrize("timeout", ["0", "601", "nan", "inf", "-inf", "", " "])
def test_a_timeout_is_a_number(timeout: str) -> None:
    if timeout:
        assert "NFTLOYALTY_RPC_TIMEOUT" in problems(NFTLOYALTY_RPC_TIMEOUT=timeout)
    else:
        assert from_environment({"NFTLOYALTY_RPC_TIMEOUT": timeout}).rpc_timeout_seconds == 30


@pytest.mark.parametrize(
    "url", ["node", "http://", "http://[::1", "http://node:port/secret-word", "file:///etc/passwd"]
)
def test_a_wrong_address_of_a_node_is_named_and_not_shown(url: str) -> None:
    found = problems(NFTLOYALTY_RPC_URL=url)
    assert found == {"NFTLOYALTY_RPC_URL": "is not an http:// or https:// address"}


def test_secrets_never_show() -> None:
    settings = from_environment(
        {
            "NFTLOYALTY_KEY_PASSWORD": "word-one",
            "DATABASE_URL": "postgresql://u:word-two@h/n",
            "NFTLOYALTY_RPC_URL": "https://node.example/word-three",
        }
    )
    assert settings.password is not None
    assert settings.password.reveal() == "word-one"
    shown = f"{settings!r} {settings!s} {settings.password} {settings.password!r}"
    assert not any(word in shown for word in ("word-one", "word-two", "word-three"))
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(Secret("word"))


def test_every_setting_tells_its_unit_and_what_it_does() -> None:
    for setting in SETTINGS:
        assert setting.unit and setting.does


def test_how_the_log_is_written_is_chosen_by_name() -> None:
    settings = from_environment({"NFTLOYALTY_LOG_FORMAT": "JSON", "NFTLOYALTY_LOG_LEVEL": "warning"})
    assert (settings.log_format, settings.log_level) == (Form.JSON, Level.WARNING)
    assert problems(NFTLOYALTY_LOG_FORMAT="xml", NFTLOYALTY_LOG_LEVEL="loud") == {
        "NFTLOYALTY_LOG_FORMAT": "'xml' is not one of text, json",
        "NFTLOYALTY_LOG_LEVEL": "'loud' is not one of debug, info, warning, error",
    }


@pytest.mark.parametrize(
    ("name", "url", "secret"),
    [
        (
            "NFTLOYALTY_RPC_URL",
            "https://node.example/v3/0123456789abcdef",
            {"0123456789abcdef", "/v3/0123456789abcdef"},
        ),
        ("NFTLOYALTY_RPC_URL", "https://node.example/?key=0123456789", {"0123456789", "key=0123456789"}),
        ("NFTLOYALTY_RPC_URL", "https://brand-user:pw@node.example", {"brand-user", "pw"}),
        ("NFTLOYALTY_RPC_URL", "https://node.example/v2/rpc", {"/v2/rpc"}),
        ("DATABASE_URL", "postgresql://brand:p%24w@db.example/loyalty", {"p%24w", "p$w"}),
        ("DATABASE_URL", "postgresql://db.example/loyalty?password=hidden", {"password=hidden", "hidden"}),
        ("DATABASE_URL", "postgresql://[", {"postgresql://["}),
        ("DATABASE_URL", "sqlite:////srv/loyalty/shop.db", set()),
        ("NFTLOYALTY_KEY_PASSWORD", "correct horse", {"correct horse"}),
    ],
)
def test_what_may_be_a_secret_is_known(name: str, url: str, secret: set[str]) -> None:
    assert set(from_environment({name: url}).secrets()) == secret
