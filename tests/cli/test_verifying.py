"""`verify`: what staff read off it."""

import json

from tests.app.build import new_wallet
from tests.cli.conftest import Run
from tests.cli.test_commands import members, ok, shop

__all__ = ["shop"]  # a fixture


def test_the_last_day_is_the_one_that_stood_in_the_file(shop: Run) -> None:
    day, hour, life = new_wallet(), new_wallet(), new_wallet()
    ok(shop("mint", members(f"{day},gold,2049-12-31", f"{hour},,2049-12-31T18:00+07:00", f"{life},,never")))
    assert "Card     gold, member number 1, active, through 2049-12-31 (UTC)\n" in ok(shop("verify", day))
    assert "active, until 2049-12-31 11:00 UTC\n" in ok(shop("verify", hour))
    assert "active, for life\n" in ok(shop("verify", life))
    card = json.loads(ok(shop("verify", day, "--json")))["card"]
    assert (card["expires_at"], card["last_day"]) == ("2050-01-01T00:00:00Z", "2049-12-31")
    assert json.loads(ok(shop("verify", life, "--json")))["card"]["last_day"] is None
