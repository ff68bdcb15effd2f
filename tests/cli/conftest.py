"""The command line in this process, with keys that open quickly."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from pytest import CaptureFixture, MonkeyPatch

from nftloyalty.app import context
from nftloyalty.cli.main import main
from nftloyalty.config import SETTINGS
from nftloyalty.devchain import DevChainServer
from nftloyalty.vault.keystore import Keystore
from tests.app.build import PASSWORD, QUICK_WORK


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def chain() -> Iterator[str]:
    with DevChainServer() as server:
        yield server.url


@pytest.fixture
def run(chain: str, tmp_path: Path, monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]) -> Run:
    """Runs `nftloyalty ...` in a folder of its own: `run("keys", "show")`. The password lies in a file."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    folder = tmp_path / "shop"
    folder.mkdir()
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NFTLOYALTY_RPC_URL", chain)
    monkeypatch.setenv("NFTLOYALTY_KEY_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setattr(context, "Keystore", partial(Keystore, work=QUICK_WORK))

    def running(*arguments: str) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["nftloyalty", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Ran(int(ended.value.code or 0), out, err)

    return running
