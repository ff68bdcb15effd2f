"""`nftloyalty seal-keys`: from one sealing key to the next."""

import json
import re
from pathlib import Path

from nftloyalty.vault.sealing import Seal
from tests.cli.conftest import Run
from tests.cli.test_commands import ok, shop

__all__ = ["shop"]  # a fixture


def test_from_one_key_to_the_next(shop: Run) -> None:
    assert ok(shop("seal-keys", "list")).startswith("There is no key")
    assert shop("seal-keys", "add").status == 3
    for path in ("1", "2"):
        ok(shop("webhooks", "create", f"https://hooks.example/{path}"))
    added = shop("seal-keys", "add")
    new = ok(added).strip()
    assert "Copy .nftloyalty/seal.key to every machine" in added.err
    old, seals = json.loads(ok(shop("seal-keys", "list", "--json")))
    assert (old["secrets"], old["here"], old["seals"]) == (2, True, False)
    assert seals == {"id": new, "secrets": 0, "here": True, "seals": True}
    assert ok(shop("seal-keys", "drop", "--yes")) == "There is no key to drop.\n"
    assert ok(shop("seal-keys", "reseal")) == "2 secrets are sealed anew.\n"
    shown = ok(shop("seal-keys", "list"))
    assert re.search(rf"^{old['id']} +0 +opens$", shown, re.MULTILINE)
    assert re.search(rf"^{new} +2 +seals$", shown, re.MULTILINE)
    assert shop("seal-keys", "drop").status == 2  # nobody can be asked
    assert ok(shop("seal-keys", "drop", "--yes")) == f"Dropped {old['id']}.\n"
    key = Path(".nftloyalty/seal.key").read_text()
    assert len(key.splitlines()) == 1
    assert key.split()[1] not in shown + added.out + added.err


def test_what_can_not_be_opened_ends_with_a_no(shop: Run) -> None:
    endpoint, _ = ok(shop("webhooks", "create", "https://hooks.example/in")).split()
    file = Path(".nftloyalty/seal.key")
    file.unlink()
    assert shop("seal-keys", "list").status == 3
    file.write_text("")
    assert shop("seal-keys", "reseal").status == 3
    file.unlink()
    # Another database's.
    Seal(file).seal(b"", b"")
    done = shop("seal-keys", "reseal")
    assert done.status == 1
    assert f"Secrets of these endpoints can't be opened: {endpoint}." in done.out
    assert "missing" in ok(shop("seal-keys", "list"))
