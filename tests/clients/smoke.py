"""A shop's first day with the generated client. Prints what it found as one line of JSON.

Arguments: the server's URL, an API key, and wallets that nobody used yet.
"""

import json
import sys
from collections.abc import Iterator

from nftloyalty_client import AuthenticatedClient, Client
from nftloyalty_client.api.gate import ask_gate
from nftloyalty_client.api.health import get_health
from nftloyalty_client.api.intents import list_intents
from nftloyalty_client.api.mints import give_batch, give_card
from nftloyalty_client.api.program import get_program
from nftloyalty_client.models import (
    CardIn,
    CardsIn,
    ConditionsIn,
    GateIn,
    GateOut,
    HealthOut,
    IntentOut,
    IntentPageOut,
    ListIntentsKindItem,
    MintOut,
    ProblemOut,
    ProgramOut,
    TakenBatchOut,
)


def intents(client: AuthenticatedClient) -> Iterator[IntentOut]:
    cursor: str | None = ""
    while cursor is not None:
        page = list_intents.sync(client=client, kind=[ListIntentsKindItem.MINT_CARD], limit=1, cursor=cursor)
        assert isinstance(page, IntentPageOut)
        yield from page.items
        cursor = page.cursor


def told(problem: object) -> tuple[str, list[str]]:
    assert isinstance(problem, ProblemOut)
    return problem.code, [each.pointer for each in problem.errors or []]


def main(url: str, key: str, first: str, second: str, third: str) -> None:
    loyalty = AuthenticatedClient(base_url=url, token=key)
    stranger = Client(base_url=url)

    health = get_health.sync(client=stranger)
    program = get_program.sync(client=loyalty)
    assert isinstance(health, HealthOut) and isinstance(program, ProgramOut)

    card = CardIn(wallet=first, tier="gold", expiry="2049-12-31")
    given = give_card.sync(client=loyalty, body=card, idempotency_key=f"order-{first}")
    again = give_card.sync_detailed(client=loyalty, body=card, idempotency_key=f"order-{first}")
    assert isinstance(given, MintOut) and isinstance(again.parsed, MintOut)
    both = CardsIn(kind="mint-card", items=[CardIn(wallet=each, tier="member") for each in (second, third)])
    batch = give_batch.sync(client=loyalty, body=both, idempotency_key=f"drop-{first}")
    assert isinstance(batch, TakenBatchOut)

    listed = [intent.id for intent in intents(loyalty)]
    wrong = CardIn(wallet="0x12", tier="goald")
    refused = give_card.sync(client=loyalty, body=wrong, idempotency_key="a-mistake")
    unknown = get_program.sync(client=AuthenticatedClient(base_url=url, token="of nobody"))
    gate = ask_gate.sync(client=loyalty, body=GateIn(wallet=first, conditions=ConditionsIn(stamps=["latte"])))
    assert isinstance(gate, GateOut)

    print(
        json.dumps(
            {
                "health": health.status,
                "tiers": [tier.id for tier in program.tiers],
                "given": given.id,
                "phase": given.phase.value,
                "again": again.parsed.id,
                "replayed": again.headers["Idempotent-Replayed"],
                "batch": batch.replies["accepted"],
                "listed": listed,
                "refused": told(refused),
                "stranger": told(unknown),
                "reasons": [reason.code for reason in gate.reasons],
            }
        )
    )


main(*sys.argv[1:])
