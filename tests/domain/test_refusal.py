"""Every refusal of the contracts reaches people as a sentence with a stable code."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from nftloyalty.domain.refusal import Refusal, explain, skip_mend
from nftloyalty.domain.words import SkipCode

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SAMPLES: dict[str, Any] = {"uint256": 7, "address": WALLET, "string": "https://bean.example/", "bytes32": bytes(32)}


def errors() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every error in the contracts' interfaces, and those of the libraries, with a value for each argument."""
    for contract in ("LoyaltyFactory", "LoyaltyMembership", "LoyaltyRenderer", "LoyaltyStamps"):
        text = files("nftloyalty").joinpath("artifacts", f"{contract}.json").read_text(encoding="utf-8")
        for entry in json.loads(text)["abi"]:
            if entry["type"] == "error":
                yield entry["name"], {each["name"]: SAMPLES[each["type"]] for each in entry["inputs"]}
    yield "DeploymentFailed", {}


ERRORS = dict(errors())


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_the_contracts_has_a_sentence(name: str) -> None:
    told = explain(name, ERRORS[name])
    assert told is not None
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", told.code)
    assert "Loyalty" not in told.sentence + told.mend
    assert "{" not in told.sentence
    assert not told.sentence.endswith(".")


def test_a_code_is_the_errors_name_in_small_letters() -> None:
    told = explain("LoyaltyStamps_QuotaExceeded", {"kind": 0, "limit": 5000})
    assert told is not None
    assert (told.code, told.sentence) == (
        "quota_exceeded",
        "today's quota for mints (5,000 a day) is too small for this",
    )
    assert "nftloyalty quota set" in told.mend


@pytest.mark.parametrize("code", SkipCode)
def test_a_refused_mint_is_told_by_its_skip_code(code: SkipCode) -> None:
    card = explain("LoyaltyMembership_Refused", {"to": WALLET, "code": int(code)})
    stamp = explain("LoyaltyStamps_Refused", {"to": WALLET, "stampType": 3, "code": int(code)})
    assert card == Refusal(code.name.lower(), f"no card for {WALLET}: the wallet {code.sentence}", skip_mend(code))
    assert stamp is not None and stamp.sentence.startswith(f"no stamp of type 3 for {WALLET}: ")


def test_a_skip_code_of_a_later_contract_is_shown_as_it_is() -> None:
    told = explain("LoyaltyMembership_Refused", {"to": WALLET, "code": 99})
    assert told == Refusal("refused", f"no card for {WALLET}: skip code 99", "")


def test_a_closed_window_names_the_days() -> None:
    opens, closes = 1_893_456_000, 1_893_542_400  # 2030-01-01 and 2030-01-02
    told = explain("LoyaltyStamps_NotOpen", {"stampType": 4, "opens": opens, "closes": closes})
    assert told is not None
    assert told.sentence == (
        "stamp type 4 can't be given now: it opens on 2030-01-01 (UTC) and is open through 2030-01-01 (UTC)"
    )
    far = explain("LoyaltyStamps_NotOpen", {"stampType": 4, "opens": (1 << 40) - 1, "closes": 0})
    assert far is not None and "after the year 9999" in far.sentence


@pytest.mark.parametrize("name", ["", "Error", "Panic", "SomebodyElses_Paused_Not"])
def test_errors_of_others_are_not_explained(name: str) -> None:
    assert explain(name, {}) is None
