"""What is asked and answered, for the OpenAPI document: some days of a small program, told once and everywhere alike.

A test holds every one of these against the schema it stands beside.
"""

from typing import Any

Example = dict[str, Any]

GOLD = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
MEMBER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
NEWCOMER = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
GUEST = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
SIGNER = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"
MEMBERSHIP = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
STAMPS = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
CHAIN = 31337

INTENT_ID = "int_0ktv3m8q1b2c4d5e6f7g8h9j0k"
OTHER_INTENT_ID = "int_0ktv3m8q1b9z8y7x6w5v4t3s2r"
BATCH_ID = "bat_0ktv4n9r2c3d5e6f7g8h9j0k1m"
VOUCHER_ID = "vou_0ktv6q1t4e5f7g8h9j0k1m2n3p"
EVENT_ID = "evt_2vq8n4wz6t0k3hcy5r7mb1xgsd"
ENDPOINT_ID = "ep_0ktv5p0s3d4e6f7g8h9j0k1m2n"
KEY_ID = "sk0ktv3m8q1b2c4d"
NEW_KEY_ID = "sk7h2w9x4r6t8y0z"
IDEMPOTENCY_KEY = "order-1001"
REQUEST_ID = "req_4c8mp2v6xk0t9b3d7f1h5jqw8n"

_ACCEPTED_AT = "2030-03-01T12:00:05Z"
_FINAL_AT = "2030-03-01T12:00:09Z"
_TRANSACTION = "0x5b1f0c2e6d3a4978b1c0d2e3f405162738495a6b7c8d9eafb0c1d2e3f4051627"
_BLOCK_HASH = "0x9e107d9d372bb6826bd81d3542a419d6e277febcf53d0c2a81f43d8b6a60e2d1"
_ACCEPTED = "accepted; it will be sent to the chain soon"

# -------------------------------------------------------------------------------------------------- program and members

PROGRAM: Example = {
    "id": "morning-bean",
    "brand": "Morning Bean",
    "name": "Morning Bean Club",
    "symbol": "MORNING-BEAN",
    "mode": "test",
    "cap": None,
    "tiers": [{"id": "member", "number": 1, "name": "Member"}, {"id": "gold", "number": 2, "name": "Gold"}],
    "stamps": [
        {
            "id": "welcome",
            "name": "Welcome",
            "ids": ["welcome"],
            "numbers": [1],
            "cap": 5000,
            "opens": None,
            "closes": "2031-01-01T00:00:00Z",
            "members_only": True,
            "min_tier": None,
            "redeemable": False,
        },
        {
            "id": "coffee",
            "name": "Three coffees",
            "ids": ["coffee-1", "coffee-2", "coffee-3"],
            "numbers": [11, 12, 13],
            "cap": None,
            "opens": None,
            "closes": None,
            "members_only": False,
            "min_tier": None,
            "redeemable": True,
        },
    ],
    "chain": {"id": CHAIN, "genesis_hash": _BLOCK_HASH, "membership": MEMBERSHIP, "stamps": STAMPS},
}

AS_OF: Example = {
    "block": 16,
    "hash": _BLOCK_HASH,
    "timestamp": _ACCEPTED_AT,
    "age_seconds": 2,
    "checked_seconds_ago": 0,
    "final": True,
}

HELD: Example = {
    "program": PROGRAM["id"],
    "wallet": GOLD,
    "card": {
        "tier": "gold",
        "tier_number": 2,
        "member_number": 1,
        "joined_at": "2030-03-01T12:00:00Z",
        "expires_at": "2050-01-01T00:00:00Z",
        "last_day": "2049-12-31",
        "active": True,
    },
    "left": False,
    "revoked": False,
    "moved": False,
    "stamps": [{"season": 0, "type": 1, "id": "welcome"}],
    "as_of": AS_OF,
}

NOTHING_HELD: Example = {**HELD, "wallet": NEWCOMER, "card": None, "stamps": []}

ALL_HELD: Example = {"items": [HELD, NOTHING_HELD]}

WALLETS: Example = {"wallets": [GOLD, NEWCOMER]}

GATE: Example = {"wallet": GOLD, "conditions": {"min_tier": "gold", "stamps": ["welcome"]}, "consistency": "head"}

YES: Example = {"wallet": GOLD, "allowed": True, "reasons": [], "as_of": AS_OF}

NO: Example = {
    "wallet": MEMBER,
    "allowed": False,
    "reasons": [
        {"code": "below_tier", "sentence": "the membership is Member, and this asks for Gold"},
        {"code": "missing_stamp", "sentence": "the stamp welcome is missing"},
    ],
    "as_of": AS_OF,
}

# -------------------------------------------------------------------------------------------------- what was asked for


def _intent(kind: str, wallet: str, **further: Any) -> dict[str, Any]:
    """One that was just accepted; `further` is what is otherwise."""
    fields = ("tier", "tier_number", "expires_at", "last_day", "stamp", "what", "may_return", "because")
    return {
        "id": INTENT_ID,
        "kind": kind,
        "wallet": wallet,
        **dict.fromkeys(fields),
        "phase": "pending",
        "sentence": _ACCEPTED,
        "transaction": None,
        "block": None,
        "reason": None,
        "created_at": _ACCEPTED_AT,
        "updated_at": _ACCEPTED_AT,
        **further,
    }


def _taken(intent: Example, reply: str = "accepted") -> Example:
    return {"reply": reply, "status_url": f"/v1/intents/{intent['id']}", **intent}


_ON_CHAIN = {"transaction": _TRANSACTION, "block": 17, "updated_at": _FINAL_AT}
_DONE = {"phase": "final", "sentence": "done, for good", **_ON_CHAIN}
_GOLD_CARD = {"tier": "gold", "tier_number": 2, "expires_at": "2050-01-01T00:00:00Z", "last_day": "2049-12-31"}
_MEMBER_CARD = {"tier": "member", "tier_number": 1}

CARD: Example = {"wallet": GUEST, "tier": "gold", "expiry": "2049-12-31"}
CARD_TAKEN: Example = _taken(_intent("mint-card", GUEST, **_GOLD_CARD))
CARD_KNOWN: Example = _taken(_intent("mint-card", GUEST, **_GOLD_CARD, **_DONE), "known")

STAMP: Example = {"wallet": MEMBER, "stamp": "welcome"}
STAMP_TAKEN: Example = _taken(_intent("mint-stamp", MEMBER, stamp="welcome"))
STAMP_KNOWN: Example = _taken(_intent("mint-stamp", MEMBER, stamp="welcome", **_DONE), "known")

INTENT: Example = _intent("mint-card", GUEST, **_GOLD_CARD, **_DONE)
INTENT_REVERTED: Example = _intent(
    "mint-stamp",
    MEMBER,
    id=OTHER_INTENT_ID,
    stamp="welcome",
    phase="reverted",
    sentence="not done, and nothing more will come of it",
    **_ON_CHAIN,
    reason={"code": "ever_claimed", "sentence": "the wallet had this stamp before and can't get it again"},
)
INTENTS: Example = {"items": [INTENT, INTENT_REVERTED], "cursor": "41"}

CARD_BATCH: Example = {
    "kind": "mint-card",
    "items": [
        {"wallet": NEWCOMER, "tier": "member", "expiry": None},
        {"wallet": GUEST, "tier": "gold", "expiry": "2049-12-31"},
    ],
}
STAMP_BATCH: Example = {"kind": "mint-stamp", "stamp": "welcome", "items": [{"wallet": NEWCOMER}, {"wallet": GUEST}]}

BATCH: Example = {
    "id": BATCH_ID,
    "kind": "mint-stamp",
    "stamp": "welcome",
    "total": 2,
    "created_at": _ACCEPTED_AT,
}
_REPLIES = {"accepted": 2, "again": 0, "known": 0, "asked_otherwise": 0}
BATCH_TAKEN: Example = {**BATCH, "replies": _REPLIES, "status_url": f"/v1/batches/{BATCH_ID}"}
BATCH_STATUS: Example = {
    **BATCH,
    "replies": _REPLIES,
    "phases": {"pending": 1, "final": 1, "reverted": 0},
    "items_url": f"/v1/batches/{BATCH_ID}/items",
}
BATCHES: Example = {"items": [BATCH], "cursor": None}

_FIRST = _intent("mint-stamp", NEWCOMER, stamp="welcome", **_DONE)
_SECOND = _intent("mint-stamp", GUEST, id=OTHER_INTENT_ID, stamp="welcome")
BATCH_ITEMS: Example = {
    "items": [
        {"place": place, "wallet": intent["wallet"], "reply": "accepted", "intent": intent}
        for place, intent in enumerate((_FIRST, _SECOND))
    ],
    "cursor": None,
}

# ----------------------------------------------------------------------------------------------------- acts on members

RENEWALS: Example = {"items": [{"wallet": GOLD, "days": 365}, {"wallet": GUEST, "until": "2051-01-01T00:00:00Z"}]}
RENEWALS_TAKEN: Example = {
    "items": [
        _taken(
            _intent(
                "renew",
                GOLD,
                expires_at="2051-01-01T00:00:00Z",
                last_day="2050-12-31",
                what=f"renew the card of {GOLD}: valid through 2050-12-31 (UTC)",
            )
        )
    ]
}

TIER_CHANGES: Example = {"items": [{"wallet": MEMBER, "tier": "gold"}]}
TIER_CHANGES_TAKEN: Example = {
    "items": [_taken(_intent("set-tier", MEMBER, tier="gold", tier_number=2, what=f"make {MEMBER} Gold"))]
}

CARD_REVOCATION: Example = {"wallet": GOLD, "reason": "the order was charged back"}
CARD_REVOKED: Example = {
    "items": [
        _taken(_intent("revoke-card", GOLD, what=f"revoke the card of {GOLD}", because="the order was charged back"))
    ]
}
STAMP_REVOCATION: Example = {"wallet": MEMBER, "stamp": "welcome", "reason": "given by mistake", "may_return": True}
STAMP_REVOKED: Example = {
    "items": [
        _taken(
            _intent(
                "revoke-stamp",
                MEMBER,
                stamp="welcome",
                what=f"revoke the stamp welcome of {MEMBER}",
                may_return=True,
                because="given by mistake",
            )
        )
    ]
}

READMISSION: Example = {"wallet": GOLD, "tier": "member", "expiry": "2049-12-31"}
READMITTED: Example = {
    "items": [
        _taken(
            _intent(
                "readmit",
                GOLD,
                **_MEMBER_CARD,
                expires_at="2050-01-01T00:00:00Z",
                last_day="2049-12-31",
                what=f"readmit {GOLD}",
            )
        )
    ]
}

# ------------------------------------------------------------------------------------------------------------- vouchers

VOUCHER: Example = {
    "voucher": {"kind": "card", "to": NEWCOMER, "tier": 1, "expires_at": 0, "epoch": 0, "deadline": 1901231999},
    "chain_id": CHAIN,
    "contract": MEMBERSHIP,
    "signer": SIGNER,
    "signature": "0x" + "5c" * 64 + "1b",
}

NEW_VOUCHER: Example = {"wallet": NEWCOMER, "tier": "member", "until": "2030-03-31"}
STAMP_VOUCHER: Example = {"wallet": MEMBER, "stamp": "welcome"}
_LISTED: Example = {
    "id": VOUCHER_ID,
    "kind": "card",
    "wallet": NEWCOMER,
    **_MEMBER_CARD,
    "expires_at": None,
    "last_day": None,
    "stamp": None,
    "until": "2030-04-01T00:00:00Z",
    "state": "open",
    "reason": None,
    "status_url": f"/v1/vouchers/{VOUCHER_ID}",
    "claim_url": None,
    "created_at": _ACCEPTED_AT,
}
_CLAIMED = {**_LISTED, "state": "claimed", "claim_url": f"/v1/claims/{INTENT_ID}"}
VOUCHER_MADE: Example = {**_LISTED, "signed": VOUCHER}
VOUCHER_CLAIMED: Example = {**_CLAIMED, "signed": VOUCHER}
VOUCHERS: Example = {"items": [_CLAIMED], "cursor": None}

_CLAIM = _intent("claim-card", NEWCOMER, **_MEMBER_CARD) | {"status_url": f"/v1/claims/{INTENT_ID}"}
CLAIMED: Example = _CLAIM
CLAIM: Example = {**_CLAIM, **_DONE}

# ------------------------------------------------------------------------------------------------- events and webhooks

EVENT: Example = {
    "id": EVENT_ID,
    "type": "membership.created",
    "timestamp": "2030-03-01T12:00:06Z",
    "program": PROGRAM["id"],
    "object": f"membership:{GOLD}",
    "sequence": 1,
    "phase": "pending",
    "data": {
        "card": {
            "joined_at": "2030-03-01T12:00:00Z",
            "expires_at": "2050-01-01T00:00:00Z",
            "tier_number": 2,
            "member_number": 1,
        },
        "wallet": GOLD,
        "block": 16,
        "transaction": _TRANSACTION,
        "log_index": 0,
        "follows": None,
    },
}
_FINAL_EVENT = {
    **EVENT,
    "id": "evt_7c0x2m9rj4s6d8w1k3tz5vhq0n",
    "timestamp": _FINAL_AT,
    "sequence": 2,
    "phase": "final",
    "data": {**EVENT["data"], "follows": EVENT_ID},
}
EVENTS: Example = {"items": [_FINAL_EVENT, EVENT], "cursor": None}

NEW_ENDPOINT: Example = {
    "url": "https://shop.example/hooks",
    "types": ["membership.created", "membership.revoked"],
    "description": "Web shop",
}
ENDPOINT_CHANGE: Example = {"types": ["membership.created", "membership.revoked", "membership.moved"]}
ENDPOINT: Example = {
    "id": ENDPOINT_ID,
    **NEW_ENDPOINT,
    "state": "active",
    "why": None,
    "created_at": "2030-02-20T09:00:00Z",
    "failing_since": None,
    "next_at": None,
    "waiting": 0,
    "former_secret_until": None,
}
ENDPOINT_FAILING: Example = {
    **ENDPOINT,
    "failing_since": "2030-03-01T12:00:07Z",
    "next_at": "2030-03-01T12:05:12Z",
    "waiting": 3,
}
ENDPOINT_CHANGED: Example = {**ENDPOINT, **ENDPOINT_CHANGE}
ENDPOINT_DELETED: Example = {**ENDPOINT, "state": "deleted"}
ENDPOINT_DISABLED: Example = {**ENDPOINT, "state": "disabled", "why": "by hand"}
ENDPOINTS: Example = {"items": [ENDPOINT_FAILING]}

# Of the letters of a secret, and of nobody's: what looks like a secret is reported by those who look for lost ones.
_SECRET = "whsec_" + "A" * 43 + "="
ENDPOINT_MADE: Example = {**ENDPOINT, "secret": _SECRET}
OVERLAP: Example = {"overlap_hours": 24}
ENDPOINT_ROTATED: Example = {**ENDPOINT, "former_secret_until": "2030-03-02T12:00:05Z", "secret": _SECRET}

TEST_TAKEN: Example = {"taken": True, "status": 204, "error": None, "milliseconds": 85}
TEST_FAILED: Example = {"taken": False, "status": 500, "error": None, "milliseconds": 140}

REPLAY_ONE: Example = {"event": EVENT_ID}
REPLAY_OF_A_DAY: Example = {"since": "2030-03-01T00:00:00Z", "until": "2030-03-02T00:00:00Z", "also_delivered": False}
REPLAY_TAKEN: Example = {"waiting": 3}

DELIVERY: Example = {
    "number": 812,
    "event": EVENT_ID,
    "type": EVENT["type"],
    "object": EVENT["object"],
    "state": "delivered",
    "tries": 2,
    "next_at": None,
    "created_at": "2030-03-01T12:00:06Z",
    "delivered_at": "2030-03-01T12:00:12Z",
    "status": 204,
    "error": None,
}
DELIVERIES: Example = {"items": [DELIVERY], "cursor": None}
TRIES: Example = {
    "items": [
        {"at": "2030-03-01T12:00:07Z", "milliseconds": 10000, "status": None, "error": "no answer within 10 seconds"},
        {"at": "2030-03-01T12:00:12Z", "milliseconds": 85, "status": 204, "error": None},
    ]
}

# ----------------------------------------------------------------------------------------------------------------- keys

NEW_KEY: Example = {"name": "Web shop", "scopes": ["checks:read", "claims:write"]}
PAGE_KEY: Example = {
    "name": "Shop page",
    "scopes": ["checks:read"],
    "publishable": True,
    "origins": ["https://shop.example"],
    "expires_at": "2031-01-01T00:00:00Z",
}
KEY: Example = {
    "id": KEY_ID,
    "name": "Web shop",
    "kind": "server",
    "state": "active",
    "scopes": ["checks:read", "claims:write"],
    "origins": [],
    "created_at": "2030-02-20T09:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2030-03-01T12:00:00Z",
    "replaces": None,
}
KEYS: Example = {"items": [KEY]}
KEY_MADE: Example = {**KEY, "last_used_at": None, "key": f"nftl_test_{KEY_ID}_" + "0" * 32}
KEY_ROTATED: Example = {
    **KEY_MADE,
    "id": NEW_KEY_ID,
    "created_at": _ACCEPTED_AT,
    "replaces": KEY_ID,
    "key": f"nftl_test_{NEW_KEY_ID}_" + "0" * 32,
}
KEY_REVOKED: Example = {**KEY, "state": "revoked", "revoked_at": _ACCEPTED_AT}

# --------------------------------------------------------------------------------------------------------------- health

ALIVE: Example = {"status": "ok"}
READY: Example = {"status": "ok", "troubles": [], "block": 17}
NOT_READY: Example = {
    "status": "not ready",
    "troubles": [{"code": "index_behind", "title": "what is known of the chain is too old to answer from"}],
    "block": 17,
}
METRICS = (
    "# HELP nftloyalty_index_block Newest block of the program's index.\n"
    "# TYPE nftloyalty_index_block gauge\n"
    'nftloyalty_index_block{program="morning-bean"} 17.0\n'
)
