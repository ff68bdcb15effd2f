"""What a node, or what stands before it, can do to a request: each case of injected trouble, and who draws them.

Some cases are moments (this answer is cut short), others last for a while (all answers come from a replica that lags).
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from tests.faults.dialects import DIALECTS, Why, refusal, why
from tests.faults.wire import NONCE, SEND, Exchange, Wire

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
TOO_MANY = {"code": -32005, "message": "Your app has exceeded its compute units per second capacity."}
ITEM_ERRORS = (
    {"code": -32000, "message": "header not found"},
    {"code": -32603, "message": "Internal error"},
    {"code": -32005, "message": "daily request count exceeded, request rate limited"},
)
_RECEIPT = "eth_getTransactionReceipt"
_STATE = {"eth_getBalance": 1, "eth_getCode": 1, NONCE: 1, "eth_call": 1, "eth_estimateGas": 1}
"""Where in the parameters of these the block stands."""


@dataclass(frozen=True)
class Bounds:
    """`patience` is how long a client waits for an answer, `lasting` how long a lasting case lasts at most; seconds.
    `lag` is how many blocks a replica lags at most."""

    patience: float = 1.0
    lasting: float = 1.2
    lag: int = 5


@dataclass(frozen=True)
class Injection:
    """What was drawn for one injection. `lag` in blocks; a replica has block `floor` at least."""

    draw: random.Random
    bounds: Bounds
    lag: int
    floor: int


Play = Callable[[Exchange, Injection], str]
"""Answers the exchange. The text says what was done, for the log; an empty one, that there was nothing to spoil."""


@dataclass(frozen=True)
class Case:
    """`fits` says for which messages it can be drawn. One that `lasts` goes on for a while, for all that it fits."""

    name: str
    says: str
    fits: Callable[[Exchange], bool]
    play: Play
    lasts: bool = False


# ----------------------------------------------------------------------------------------------------- no usable answer


def _drop(exchange: Exchange, injection: Injection) -> str:
    exchange.hang_up()
    return "never reached the node"


def _accept_then(end: str) -> Play:
    def play(exchange: Exchange, injection: Injection) -> str:
        exchange.ask()
        if end == "broken":
            exchange.hang_up()
        elif end == "timeout":
            # Longer than the client waits.
            time.sleep(injection.bounds.patience * 1.1)
            exchange.hang_up()
        else:
            exchange.answer(int(end), b"", {"Content-Type": "text/plain"})
        return "the node had it"

    return play


def _delay(exchange: Exchange, injection: Injection) -> str:
    seconds = injection.draw.uniform(0.05, 0.5 * injection.bounds.patience)
    time.sleep(seconds)
    exchange.pass_on()
    return f"{seconds:.2f} s"


def _duplicate(exchange: Exchange, injection: Injection) -> str:
    answers = exchange.ask(), exchange.ask()
    which = injection.draw.randrange(2)
    exchange.answer(*answers[which])
    return f"answered as to the {('first', 'second')[which]}"


def _too_many(exchange: Exchange, injection: Injection) -> str:
    answer = {"jsonrpc": "2.0", "id": exchange.items[0]["id"], "error": TOO_MANY}
    # Providers answer with JSON-RPC's error in the body, or with none.
    body = json.dumps(answer).encode() if injection.draw.random() < 0.5 else b"Too Many Requests"
    exchange.answer(429, body, {"Retry-After": "1"})
    return "with a JSON-RPC error" if body.startswith(b"{") else "in plain words"


def _truncate(exchange: Exchange, injection: Injection) -> str:
    status, content = exchange.ask()
    kept = injection.draw.randrange(1, len(content))
    exchange.answer(status, content[:kept])
    return f"{kept} of {len(content)} bytes"


def _html(exchange: Exchange, injection: Injection) -> str:
    status = injection.draw.choice((200, 502, 503))
    exchange.answer(status, HTML, {"Content-Type": "text/html"})
    return f"HTTP {status}"


# -------------------------------------------------------------------------------------------------------- wrong answers


def _batch(spoil: Callable[[list[dict[str, Any]], random.Random], str]) -> Play:
    def play(exchange: Exchange, injection: Injection) -> str:
        answers = exchange.ask_all(exchange.items)
        detail = spoil(answers, injection.draw)
        exchange.answer(200, json.dumps(answers).encode())
        return detail

    return play


def _errors(answers: list[dict[str, Any]], draw: random.Random) -> str:
    chosen = draw.sample(range(len(answers)), draw.randint(1, len(answers)))
    for place in chosen:
        answers[place] = {"jsonrpc": "2.0", "id": answers[place]["id"], "error": draw.choice(ITEM_ERRORS)}
    return f"{len(chosen)} of {len(answers)}"


def _missing(answers: list[dict[str, Any]], draw: random.Random) -> str:
    whole = len(answers)
    del answers[draw.randrange(whole)]
    return f"1 of {whole}"


def _reorder(answers: list[dict[str, Any]], draw: random.Random) -> str:
    # A rotation is never the order that was asked in.
    by = draw.randrange(1, len(answers))
    answers[:] = answers[by:] + answers[:by]
    return f"{len(answers)} items"


def _lag(exchange: Exchange, injection: Injection) -> str:
    """The whole message answered as by a replica that is `lag` blocks behind the node."""
    (newest,) = exchange.ask_all([{"id": 0, "method": "eth_blockNumber", "params": []}])
    head = int(newest["result"], 16)
    seen = max(head - injection.lag, injection.floor)
    answers = exchange.ask_all([_as_of(item, seen) for item in exchange.items])
    exchange.answer_items([_unseen(item, answer, seen) for item, answer in zip(exchange.items, answers, strict=True)])
    return f"{head - seen} blocks"


def _as_of(item: Mapping[str, Any], seen: int) -> Mapping[str, Any]:
    method, params = item["method"], list(item["params"])
    if method == "eth_getBlockByNumber" and params[0] in ("latest", "pending", "safe"):
        params[0] = hex(seen)
    elif method in _STATE:
        place = _STATE[method]
        if len(params) <= place:
            params.append(hex(seen))
        elif params[place] in ("latest", "pending"):
            params[place] = hex(seen)
    elif method == "eth_getLogs":
        params[0] = {
            name: hex(min(seen, int(value, 16)))
            if name == "toBlock" and value.startswith("0x")
            else hex(seen)
            if name == "toBlock"
            else value
            for name, value in params[0].items()
        }
    return {**item, "params": params}


def _unseen(item: Mapping[str, Any], answer: dict[str, Any], seen: int) -> dict[str, Any]:
    """The answer, without what happened in blocks that the replica has not got yet."""
    method, result = item["method"], answer.get("result")
    if method == "eth_blockNumber":
        return {**answer, "result": hex(seen)}
    if not isinstance(result, dict):
        return answer
    number = result.get("number") if method.startswith("eth_getBlock") else result.get("blockNumber")
    if number is None or int(number, 16) <= seen:
        return answer
    if method == "eth_getTransactionByHash":
        return {**answer, "result": {**result, "blockNumber": None, "blockHash": None, "transactionIndex": None}}
    return {**answer, "result": None}


def _other_receipts(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Play:
    def play(exchange: Exchange, injection: Injection) -> str:
        answers = exchange.ask_all(exchange.items)
        changed = 0
        for item, answer in zip(exchange.items, answers, strict=True):
            true = answer.get("result")
            if item["method"] == _RECEIPT and true is not None:
                answer["result"] = change(true)
                changed += answer["result"] != true
        exchange.answer_items(answers)
        return f"{changed} changed" if changed else ""

    return play


def _asks_receipts(exchange: Exchange) -> bool:
    return _RECEIPT in exchange.methods


def _other_nonce(by: Callable[[random.Random], int], block: str) -> Play:
    def play(exchange: Exchange, injection: Injection) -> str:
        answers = exchange.ask_all(exchange.items)
        changed = []
        for item, answer in zip(exchange.items, answers, strict=True):
            if item["method"] == NONCE and item["params"][1] == block and "result" in answer:
                true = int(answer["result"], 16)
                told = max(0, true + by(injection.draw))
                if told != true:
                    answer["result"] = hex(told)
                    changed.append(f"{told} for {true}")
        exchange.answer_items(answers)
        return ", ".join(changed)

    return play


def _asks_nonce(block: str) -> Callable[[Exchange], bool]:
    return lambda exchange: any(item["method"] == NONCE and item["params"][1] == block for item in exchange.items)


# ------------------------------------------------------------------------------------------- answers to a transaction


def _sender_and_nonce(item: Mapping[str, Any]) -> tuple[str, int]:
    raw = HexBytes(item["params"][0])
    return str(Account.recover_transaction(raw)), int(TypedTransaction.from_bytes(raw).as_dict()["nonce"])


def _refusal(item: Mapping[str, Any], dialect: str, reason: Why) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": item["id"], "error": refusal(dialect, reason, *_sender_and_nonce(item))}


def _refuse(exchange: Exchange, injection: Injection, reason: Why) -> str:
    """All that was handed in, for the same reason."""
    dialect = injection.draw.choice(list(DIALECTS))
    answers = [_refusal(item, dialect, reason) for item in exchange.items]
    exchange.answer_items(answers)
    return f"{dialect}: {answers[0]['error']['message']} ({len(answers)})"


def _refuse_truly(exchange: Exchange, injection: Injection) -> str:
    dialect = injection.draw.choice(list(DIALECTS))
    answers = exchange.ask_all(exchange.items)
    told = 0
    for place, (item, answer) in enumerate(zip(exchange.items, answers, strict=True)):
        reason = why(answer["error"]) if "error" in answer else None
        if reason is not None:
            answers[place] = _refusal(item, dialect, reason)
            told += 1
    exchange.answer_items(answers)
    return f"{dialect}: {told} of {len(answers)}" if told else ""


def _refuse_falsely(exchange: Exchange, injection: Injection) -> str:
    exchange.ask()
    return _refuse(exchange, injection, injection.draw.choice(list(Why)))


def _known_falsely(exchange: Exchange, injection: Injection) -> str:
    return _refuse(exchange, injection, injection.draw.choice((Why.KNOWN, Why.LOW)))


def _any(exchange: Exchange) -> bool:
    return True


def _is_batch(exchange: Exchange) -> bool:
    return isinstance(exchange.message, list) and len(exchange.message) > 1


def _is_send(exchange: Exchange) -> bool:
    return set(exchange.methods) == {SEND}


CASES = (
    Case("dropped", "the request never reaches the node, the connection breaks", _any, _drop),
    Case("accepted, broken", "the node has it, the connection breaks", _any, _accept_then("broken")),
    Case("accepted, 500", "the node has it, the answer is HTTP 500", _any, _accept_then("500")),
    Case("accepted, 502", "the node has it, the answer is HTTP 502", _any, _accept_then("502")),
    Case("accepted, timeout", "the node has it, no answer comes in time", _any, _accept_then("timeout")),
    Case("delayed", "the answer comes late", _any, _delay),
    Case("duplicated", "the node gets the request twice", _any, _duplicate),
    Case("too many requests", "HTTP 429 with Retry-After, the node gets nothing", _any, _too_many),
    Case("truncated", "the answer's JSON ends in the middle", _any, _truncate),
    Case("error page", "HTML in place of JSON, the node gets nothing", _any, _html),
    Case("batch: errors", "some items of a batch are answered with errors", _is_batch, _batch(_errors)),
    Case("batch: missing", "an item of a batch is not answered", _is_batch, _batch(_missing)),
    Case("batch: other order", "a batch is answered in another order", _is_batch, _batch(_reorder)),
    Case("stale view", "all answers as of some blocks ago, for a while", _any, _lag, lasts=True),
    Case(
        "no receipts",
        "no receipt although mined, for a while",
        _asks_receipts,
        _other_receipts(lambda receipt: None),
        lasts=True,
    ),
    Case(
        "bare receipts",
        "receipts without their logs, for a while",
        _asks_receipts,
        _other_receipts(lambda receipt: {**receipt, "logs": []}),
        lasts=True,
    ),
    Case(
        "failed falsely",
        "receipts that say failed",
        _asks_receipts,
        _other_receipts(lambda receipt: {**receipt, "status": "0x0", "logs": []}),
    ),
    Case(
        "nonce too low",
        "the signer's nonce as it was, or lower",
        _asks_nonce("latest"),
        _other_nonce(lambda draw: -draw.randint(1, 3), "latest"),
    ),
    Case(
        "nonce too high",
        "a nonce that the signer has not reached",
        _asks_nonce("latest"),
        _other_nonce(lambda draw: draw.randint(1, 3), "latest"),
    ),
    Case(
        "pending below latest",
        "the pending nonce lower than it is",
        _asks_nonce("pending"),
        _other_nonce(lambda draw: -draw.randint(1, 4), "pending"),
    ),
    Case("refused truly", "the node's refusal in the words of another client", _is_send, _refuse_truly),
    Case("refused falsely", "the node has taken it, the answer is a refusal", _is_send, _refuse_falsely),
    Case("known falsely", "the node never gets it, the answer is that it is known", _is_send, _known_falsely),
)
CASE = {case.name: case for case in CASES}


class Drawn:
    """Spoils exchanges as a seed draws it: most often by the case that was had least often.

    `rates` gives the share of messages to spoil: of those that hand in a transaction, and of all others.
    """

    def __init__(
        self,
        wire: Wire,
        seed: int,
        *,
        rates: Callable[[Exchange], float],
        cases: Sequence[str] = tuple(CASE),
        bounds: Bounds | None = None,
        floor: int = 0,
    ) -> None:
        self._wire = wire
        self._draw = random.Random(seed)  # noqa: S311 a plan, no secret
        self._rates = rates
        self._cases = [CASE[name] for name in cases]
        self._bounds = bounds or Bounds()
        self._floor = floor
        self._choosing = threading.Lock()
        self._drawn: Counter[str] = Counter()
        self._lasting: tuple[Case, Injection, float] | None = None

    def spoil(self, exchange: Exchange) -> bool:
        with self._choosing:
            chosen = self.choose(exchange)
        if chosen is None:
            return False
        case, injection = chosen
        detail = case.play(exchange, injection)
        if detail:
            self._wire.note(exchange, case.name, detail)
        return True

    def choose(self, exchange: Exchange) -> tuple[Case, Injection] | None:
        """What to do to this exchange; None = nothing. Not for two threads at once."""
        now = time.monotonic()
        if self._lasting is not None and now < self._lasting[2]:
            case, injection, _ = self._lasting
            return (case, injection) if case.fits(exchange) else None
        self._lasting = None
        # A refusal that the node has a reason for is told in another dialect each time.
        if _is_send(exchange) and CASE["refused truly"] in self._cases and self._draw.random() < 0.5:
            return CASE["refused truly"], self._injection()
        if self._draw.random() >= self._rates(exchange):
            return None
        fitting = [case for case in self._cases if case.fits(exchange)]
        if not fitting:
            return None
        weights = [1 / (1 + self._drawn[case.name]) ** 2 for case in fitting]
        (case,) = self._draw.choices(fitting, weights)
        self._drawn[case.name] += 1
        injection = self._injection()
        if case.lasts:
            self._lasting = case, injection, now + self._draw.uniform(0.2, 1) * self._bounds.lasting
        return case, injection

    def _injection(self) -> Injection:
        draw = random.Random(self._draw.random())  # noqa: S311 a plan, no secret
        return Injection(draw, self._bounds, draw.randint(1, self._bounds.lag), self._floor)
