"""What comes over the wire is not trusted to be small or shallow."""

import pytest

from nftloyalty.chain.client import Node
from nftloyalty.errors import NodeUnreachable
from tests.chain.liar import Liar

DEPTH = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEPTH + "]" * DEPTH,
        '{"a":' * DEPTH + "1" + "}" * DEPTH,
        "[" * DEPTH,
        '{"jsonrpc":"2.0","id":1,"result":' + "[" * DEPTH + "]" * DEPTH + "}",
        '["]",' * DEPTH + "1" + "]" * DEPTH,
    ],
    ids=["lists", "objects", "never closed", "in an answer", "with brackets in texts"],
)
def test_a_deep_answer_is_an_error_and_does_not_end_the_process(liar: Liar, text: str) -> None:
    """py-evm raises Python's recursion limit so far that a parser which recurses in C overflows the stack."""
    liar.answer = lambda exchange, request: exchange.send(text.encode())
    with pytest.raises(NodeUnreachable, match="not JSON"):
        Node(liar.url).chain_id()


def test_brackets_in_texts_are_not_taken_for_depth(liar: Liar) -> None:
    text = "[{" * DEPTH + '"\\'
    liar.answer = lambda exchange, request: exchange.result(request, text)
    assert Node(liar.url).call("eth_foo") == text
