"""A node between us and a real one: it can be down, refuse some requests, and change answers."""

from collections.abc import Callable
from typing import Any, Self

import requests

from tests.chain.liar import Exchange, Liar

Refuse = Callable[[str, list[Any]], bool]
Change = Callable[[str, list[Any], Any], Any]


class Proxy(Liar):
    """For `with`. `refuse` says which requests are refused with a JSON-RPC error, `down` breaks every connection,
    `change` makes another result of a node's result.

    `sent` are the transactions that were handed in, refused ones included.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self.upstream = upstream
        self.down = False
        self.refuse: Refuse = lambda method, params: False
        self.change: Change = lambda method, params, result: result
        self.sent: list[str] = []
        self.answer = self._answer

    def _answer(self, exchange: Exchange, message: Any) -> None:
        if self.down:
            exchange.hang_up()
            return
        items = message if isinstance(message, list) else [message]
        self.sent += [item["params"][0] for item in items if item["method"] == "eth_sendRawTransaction"]
        answers = [self._one(item) for item in items]
        if any(answer is None for answer in answers):
            exchange.hang_up()
        else:
            exchange.send_json(answers if isinstance(message, list) else answers[0])

    def _one(self, item: Any) -> Any:
        if self.refuse(item["method"], item["params"]):
            error = {"code": -32000, "message": "refused by the test"}
            return {"jsonrpc": "2.0", "id": item["id"], "error": error}
        answer = requests.post(self.upstream, json=item, timeout=60).json()
        if "result" in answer:
            answer["result"] = self.change(item["method"], item["params"], answer["result"])
        return answer

    def __enter__(self) -> Self:
        super().__enter__()
        return self
