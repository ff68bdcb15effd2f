"""What one act on a member has to do with the next."""

import pytest

from nftloyalty.domain.act import MEMBER_ACTS, ActRefused, act_key, is_same_act
from nftloyalty.domain.intent import Kind
from tests.domain.build import wallet


def test_acts_that_undo_each_other_have_one_name() -> None:
    keys = {kind: act_key("bean", kind, 0, wallet(), 3) for kind in MEMBER_ACTS}
    assert keys[Kind.REVOKE_CARD] == keys[Kind.READMIT] == f"bean|card|0|{wallet()}|3"
    assert len(set(keys.values())) == len(MEMBER_ACTS) - 1


def test_each_stamp_generation_and_wallet_has_a_name_of_its_own() -> None:
    names = {
        act_key("bean", Kind.REVOKE_STAMP, stamp_type, wallet(number), generation)
        for stamp_type in (1, 2)
        for number in (1, 2)
        for generation in (0, 1)
    }
    assert len(names) == 8


@pytest.mark.parametrize(
    ("kind", "asked", "before", "same"),
    [
        (Kind.RENEW, {"expires_at": 9, "expected": 5}, {"expires_at": 9, "expected": 4}, True),
        (Kind.RENEW, {"expires_at": 9}, {"expires_at": 8}, False),
        (Kind.RENEW, {"expires_at": 9, "term": 4}, {"expires_at": 9, "term": 4}, False),
        (Kind.RENEW, {"expires_at": 9}, {"expires_at": 9, "term": 4}, False),
        (Kind.SET_TIER, {"tier": 2}, {"tier": 2}, True),
        (Kind.SET_TIER, {"tier": 2}, {"tier": 1}, False),
        (Kind.REVOKE_CARD, {"reason": "one"}, {"reason": "other"}, True),
        (Kind.REVOKE_STAMP, {"may_return": True}, {"may_return": False}, False),
        (Kind.READMIT, {"tier": 1, "expires_at": 0}, {"tier": 1, "expires_at": 9}, False),
    ],
)
def test_only_what_does_all_that_is_asked_is_the_same(
    kind: Kind, asked: dict[str, object], before: dict[str, object], same: bool
) -> None:
    assert is_same_act(kind, asked, before) is same


def test_a_refusal_says_that_nothing_was_sent() -> None:
    refused = ActRefused("done", wallet(), "it is so already", mend="leave it")
    assert (refused.message, refused.code, refused.mend) == ("it is so already; nothing was sent", "done", "leave it")
