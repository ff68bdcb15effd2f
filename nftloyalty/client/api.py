"""The API's client. Safe to use from many threads.

Whatever gets no answer, or one that says to ask again, is asked again, with growing pauses. Requests that give
something carry one Idempotency-Key through all tries, so nothing is given twice.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import urllib3

from nftloyalty.client.errors import Refused, Unreachable
from nftloyalty.client.shapes import (
    Batch,
    BatchItem,
    Check,
    Consistency,
    Event,
    Intent,
    ListedVoucher,
    Ownership,
    Phase,
    Program,
    SignedVoucher,
    Voucher,
)

TIMEOUT_SECONDS = 10.0
TRIES = 5
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 20.0
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024

# The server's answers after which the same request is worth another try.
_AGAIN = frozenset({429, 502, 503, 504})
_IN_FLIGHT = "in_flight"


class Loyalty:
    """One program's API at `url`. `key` may be left out on the server's own machine while the program has no keys.

    Every method raises Refused for a no of the server and Unreachable after `tries` without an answer. `wait` and the
    iterators ask as often as they need to.
    """

    def __init__(
        self, url: str, key: str = "", *, timeout_seconds: float = TIMEOUT_SECONDS, tries: int = TRIES
    ) -> None:
        """Raises ValueError for a key that would go over the network in the clear."""
        parts = urlsplit(url)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and here):
            raise ValueError(f"{parts.scheme}://{parts.hostname} is not https: everybody on the way could read the key")
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._tries = tries
        # Tries are ours to count, and a redirect would carry the key elsewhere.
        self._pool = urllib3.PoolManager(maxsize=10, timeout=timeout_seconds, retries=False)

    def __repr__(self) -> str:
        return f"Loyalty({self._url})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # ------------------------------------------------------------------------------------------------------- questions

    def program(self) -> Program:
        """The program of this key: its tiers, its stamps, where it lives."""
        return cast(Program, self._get("/v1/program"))

    def check(
        self,
        wallet: str,
        *,
        tier: str | None = None,
        stamps: Sequence[str] = (),
        active: bool | None = None,
        consistency: Consistency = "head",
    ) -> Check:
        """May this wallet have it? Without conditions, whether it has a card that has not expired.

        No answer is no yes: whatever is raised here, the customer gets what everybody gets.
        """
        asked: list[tuple[str, str]] = [("consistency", consistency), *(("stamp", stamp) for stamp in stamps)]
        if tier is not None:
            asked.append(("tier", tier))
        if active is not None:
            asked.append(("active", "true" if active else "false"))
        return cast(Check, self._get(f"/v1/check/{_part(wallet)}", asked))

    def ownership(self, wallet: str, consistency: Consistency = "head") -> Ownership:
        """What a wallet holds."""
        return cast(Ownership, self._get(f"/v1/ownership/{_part(wallet)}", [("consistency", consistency)]))

    def ownerships(self, wallets: Sequence[str], consistency: Consistency = "head") -> list[Ownership]:
        """What several wallets hold, up to 500, all as of the same block."""
        body = {"wallets": list(wallets), "consistency": consistency}
        return cast(list[Ownership], self._post("/v1/ownership", body, "")["items"])

    # ---------------------------------------------------------------------------------------------------------- giving

    def mint(self, wallet: str, *, tier: str, expiry: str | None = None, key: str = "") -> Intent:
        """Give a card: `expiry` is its last day, as 2030-12-31, None = for life.

        `key` names this request, such as your order's number; left out, it is made up anew for each call.
        """
        return cast(Intent, self._post("/v1/mints", {"wallet": wallet, "tier": tier, "expiry": expiry}, _named(key)))

    def stamp(self, wallet: str, stamp: str, *, key: str = "") -> Intent:
        """Give a stamp."""
        return cast(Intent, self._post("/v1/stamps", {"wallet": wallet, "stamp": stamp}, _named(key)))

    def mint_batch(self, cards: Sequence[Mapping[str, Any]], *, key: str = "") -> Batch:
        """Give up to 10,000 cards, each with `wallet`, `tier` and, if it ends, `expiry`. All are taken in or none."""
        return cast(Batch, self._post("/v1/batches", {"kind": "mint-card", "items": list(cards)}, _named(key)))

    def stamp_batch(self, wallets: Sequence[str], stamp: str, *, key: str = "") -> Batch:
        """Give one stamp to up to 10,000 wallets. All are taken in or none."""
        items = [{"wallet": wallet} for wallet in wallets]
        return cast(
            Batch, self._post("/v1/batches", {"kind": "mint-stamp", "stamp": stamp, "items": items}, _named(key))
        )

    # -------------------------------------------------------------------------------------------------------- vouchers

    def promise_card(
        self, wallet: str, *, tier: str, expiry: str | None = None, until: str | None = None, key: str = ""
    ) -> Voucher:
        """Have a voucher for a card signed. `until` is the last day on which it can be claimed, None = in 30 days.

        The server must have been started with --vouchers. Its `signed` is for the member, who hands it in.
        """
        body = {"wallet": wallet, "tier": tier, "expiry": expiry, "until": until}
        return cast(Voucher, self._post("/v1/vouchers", body, _named(key)))

    def promise_stamp(self, wallet: str, stamp: str, *, until: str | None = None, key: str = "") -> Voucher:
        """Have a voucher for a stamp signed."""
        body = {"wallet": wallet, "stamp": stamp, "until": until}
        return cast(Voucher, self._post("/v1/vouchers", body, _named(key)))

    def voucher(self, voucher_id: str) -> Voucher:
        """How a voucher stands."""
        return cast(Voucher, self._get(f"/v1/vouchers/{_part(voucher_id)}"))

    def vouchers(self, *, wallet: str | None = None) -> Iterator[ListedVoucher]:
        """The program's vouchers, the newest first, page by page."""
        return cast(Iterator[ListedVoucher], self._pages("/v1/vouchers", _given(wallet=wallet)))

    def claim(self, signed: SignedVoucher) -> Intent:
        """Hand a voucher in. The same one again is the same claim."""
        return cast(Intent, self._post("/v1/claim", signed, ""))

    # -------------------------------------------------------------------------------------------------- acts on members

    def renew(self, wallet: str, *, days: int | None = None, until: str | None = None, key: str = "") -> Intent:
        """Let a card end later: by a term of days, or at a time. Without a `key` of yours, a term that is asked for
        twice is added twice."""
        item = {"wallet": wallet, "days": days, "until": until}
        return self._act("/v1/renewals", {"items": [item]}, key)

    def change_tier(self, wallet: str, tier: str, *, key: str = "") -> Intent:
        """Put a member on another tier."""
        return self._act("/v1/tier-changes", {"items": [{"wallet": wallet, "tier": tier}]}, key)

    def revoke(self, wallet: str, *, reason: str, key: str = "") -> Intent:
        """Take a card away. The reason is public."""
        return self._act("/v1/revocations", {"wallet": wallet, "reason": reason}, key)

    def revoke_stamp(self, wallet: str, stamp: str, *, reason: str, may_return: bool = False, key: str = "") -> Intent:
        """Take a stamp away; `may_return` = the wallet may get it again."""
        body = {"wallet": wallet, "stamp": stamp, "reason": reason, "may_return": may_return}
        return self._act("/v1/revocations", body, key)

    def readmit(self, wallet: str, *, tier: str, expiry: str | None = None, key: str = "") -> Intent:
        """Bring back who left or was revoked."""
        return self._act("/v1/readmissions", {"wallet": wallet, "tier": tier, "expiry": expiry}, key)

    # ------------------------------------------------------------------------------------------------- how it stands

    def intent(self, intent_id: str) -> Intent:
        """How far something is."""
        return cast(Intent, self._get(f"/v1/intents/{_part(intent_id)}"))

    def wait(self, intent_id: str, *, timeout_seconds: float = 120.0, every_seconds: float = 1.0) -> Intent:
        """Ask until it is final or reverted. Raises TimeoutError if it still is neither; nothing is lost by that."""
        give_up = time.monotonic() + timeout_seconds
        while (found := self.intent(intent_id))["phase"] == "pending":
            if time.monotonic() > give_up:
                raise TimeoutError(f"{intent_id} is pending still: {found['sentence']}")
            time.sleep(every_seconds)
        return found

    def intents(self, *, wallet: str | None = None, phase: Phase | None = None) -> Iterator[Intent]:
        """What was asked for, the newest first, page by page."""
        return cast(Iterator[Intent], self._pages("/v1/intents", _given(wallet=wallet, phase=phase)))

    def batch(self, batch_id: str) -> Batch:
        """How far a batch is."""
        return cast(Batch, self._get(f"/v1/batches/{_part(batch_id)}"))

    def batch_items(self, batch_id: str) -> Iterator[BatchItem]:
        """What became of each item, in the order of the request."""
        return cast(Iterator[BatchItem], self._pages(f"/v1/batches/{_part(batch_id)}/items", []))

    def events(
        self, *, types: Sequence[str] = (), wallet: str | None = None, after: str = ""
    ) -> Iterator[tuple[str, Event]]:
        """Events, the oldest first, each with the cursor that goes on after its page: store it, and give it back as
        `after` to miss nothing. Ends with the last event that was told so far."""
        asked = [("order", "oldest"), *(("type", each) for each in types), *_given(wallet=wallet)]
        while True:
            page = self._get("/v1/events", [*asked, ("cursor", after), ("limit", "500")])
            if not page["items"]:
                return
            after = page["cursor"]
            for each in page["items"]:
                yield after, cast(Event, each)

    # -------------------------------------------------------------------------------------------------------- the wire

    def _act(self, path: str, body: Mapping[str, Any], key: str) -> Intent:
        (intent,) = self._post(path, body, _named(key))["items"]
        return cast(Intent, intent)

    def _pages(self, path: str, asked: Sequence[tuple[str, str]]) -> Iterator[Any]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(path, [*asked, ("cursor", cursor), ("limit", "500")])
            yield from page["items"]
            cursor = page["cursor"]

    def _get(self, path: str, asked: Sequence[tuple[str, str]] = ()) -> Any:
        return self._ask("GET", path + (f"?{urlencode(asked)}" if asked else ""), None, "")

    def _post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        return self._ask("POST", path, json.dumps(body).encode(), key)

    def _ask(self, method: str, path: str, body: bytes | None, key: str) -> Any:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        refused: Refused | None = None
        why = ""
        for left in reversed(range(self._tries)):
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._tries - 1 - left))
            try:
                status, content, asked_seconds = self._once(method, path, body, headers)
            except urllib3.exceptions.HTTPError as failure:
                refused, why = None, type(failure).__name__
            else:
                if 200 <= status < 300:
                    return _answer(status, content)
                refused = Refused(status, _problem(content))
                if status not in _AGAIN and refused.code != _IN_FLIGHT:
                    raise refused
                pause = max(pause, min(LONGEST_PAUSE_SECONDS, asked_seconds))
            if left:
                # Some more, so that what failed together does not come back together.
                time.sleep(pause * random.uniform(1.0, 1.25))  # noqa: S311 - a pause is no secret
        if refused is not None:
            raise refused
        raise Unreachable(self._url + path.partition("?")[0], key, why)

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes, float]:
        """Status, body, and how many seconds the server asks to wait."""
        answer = self._pool.request(
            method, self._url + path, body=body, headers=headers, redirect=False, preload_content=False
        )
        try:
            content = answer.read(LARGEST_ANSWER_BYTES)
            # To its end, else the connection can't be used again; but not to the end of what has none.
            if answer.read(1):
                answer.close()
        finally:
            answer.release_conn()
        seconds = answer.headers.get("Retry-After", "")
        return answer.status, content, float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0


def _answer(status: int, content: bytes) -> Any:
    """A good answer. Raises Refused where something between here and the server has answered in its place."""
    try:
        return json.loads(content)
    except ValueError:
        raise Refused(status, {"title": "what answered is not nftloyalty"}) from None


def _problem(content: bytes) -> Mapping[str, Any]:
    """A problem document; empty where something between here and the server has answered."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _part(text: str) -> str:
    """One step of a path, whatever it holds."""
    return quote(text, safe="")


def _named(key: str) -> str:
    return key or str(uuid4())


def _given(**asked: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in asked.items() if value is not None]
