"""`nftloyalty demo`: the whole road in one process, on a chain of its own, with nothing to set up."""

import json
import secrets
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from nftloyalty.app import deploying, funding, minting, vouching
from nftloyalty.app.context import App, build_app
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.minting import MintPlan
from nftloyalty.app.opening import Opened, opened
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.cli.indexing import bring_up_to_date
from nftloyalty.cli.session import load_program, out, read_lines
from nftloyalty.config import Secret, Settings
from nftloyalty.devchain import DevChainServer
from nftloyalty.devchain.server import listen, url_of
from nftloyalty.errors import ProgramProblem
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from nftloyalty.web.server import server_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "coffee"
NEWCOMER = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
STRANGER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"

PEERS = (
    ("OpenZeppelin ERC721", 76_016, 47_783),
    ("ERC721A", 75_623, 47_577),
    ("Unlock PublicLock", 173_322, 120_968),
    ("thirdweb LoyaltyCard", 158_712, 126_826),
)
"""Gas of one card to a new wallet: alone, and each in a batch of 100. From docs/benchmarks.md (`make bench-gas`)."""


def run(settings: Settings, *, exit_after: bool, port: int) -> None:
    """Do everything a program's first day holds, say what happened, and serve it until Ctrl-C.

    Uses a folder and a chain of its own, which are gone afterwards; the settings' own database and keys stay untouched.
    Raises ProgramProblem where the examples are not there (they come with the source, not with the package).
    """
    if not EXAMPLE.is_dir():
        raise ProgramProblem(
            "the demo needs the folder examples/, which only a checkout of the source has",
            mend="get the source and run `make demo`, or begin with `nftloyalty init`",
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nftloyalty-demo-")))
        chain = stack.enter_context(DevChainServer())
        out.print(f"1. A chain of our own at {chain.url}")
        demo_settings = replace(
            settings,
            home=folder,
            seal_key_file=folder / "seal.key",
            database_url=f"sqlite:///{folder / 'demo.db'}",
            rpc_url=chain.url,
            password=Secret(secrets.token_urlsafe(24)),
            password_file=None,
        )
        app = build_app(demo_settings)
        stack.callback(app.close)
        here = _open(app)
        cards, stamps = _mint(app, here)
        worker = Worker(app, here, [signer_of(app, name) for name in sending_keys(app, here.program)[0]])
        bring_up_to_date(app, here)
        worker.start()
        stack.callback(worker.stop)
        intake = stack.enter_context(Intake(app, here))
        desk = vouching.open_desk(app, here)
        url = stack.enter_context(_serving(Service(app, here, worker, intake=intake, desk=desk), port))
        claim = _claim(url)
        gates = [_gate(url, wallet, step) for step, wallet in enumerate((cards.rows[0].recipient, STRANGER), 7)]
        _summary(app, here, cards, stamps, claim, gates)
        if not exit_after:
            out.print(f"\nServing {here.program.name} at {url} (Ctrl-C ends it). Try:")
            out.print(f"  curl {url}/v1/ownership/{cards.rows[0].recipient}")
            threading.Event().wait()


def _open(app: App) -> Opened:
    program = load_program(EXAMPLE / "program.toml")
    powers = program.powers
    names = {powers.opener, powers.owner, *powers.minters, *powers.signers, *powers.managers, *powers.guardians}
    for name in sorted(name for name in names if not name.startswith("0x")):
        funding.fund(app, app.keystore.create(name, app.password(name)), 10 * 10**18)
    out.print(f"2. Keys {', '.join(sorted(names))}: made, encrypted, funded")
    report = deploying.deploy(app, program)
    here = opened(app, program)
    out.print(f"3. {program.name} is open: cards {here.membership.address}, stamps {here.stamps.address}")
    out.print(f"   {len(report.sent)} transactions, {report.gas_used:,} gas, of which opening {report.open_gas:,}")
    return here


def _mint(app: App, here: Opened) -> tuple[MintPlan, MintPlan]:
    cards = minting.plan_cards(app, here, _lines("members.csv"), "members.csv")
    done = minting.mint(app, here, cards)
    out.print(f"4. Cards for {done.on_chain} members of examples/coffee/members.csv")
    stamps = minting.plan_stamps(app, here, _lines("latte-week.csv"), "latte-week.csv", "latte-week")
    done = minting.mint(app, here, stamps)
    out.print(f"5. The stamp latte-week for {done.on_chain} of them")
    return cards, stamps


def _lines(name: str) -> list[str]:
    return list(read_lines(EXAMPLE / name))


@contextmanager
def _serving(service: Service, port: int) -> Iterator[str]:
    """The web server in a thread of this process, on a socket that listens before the thread starts."""
    with listen("127.0.0.1", port) as listener:
        server = server_of(create_web(service))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def _claim(url: str) -> dict[str, Any]:
    voucher = _ask(f"{url}/v1/vouchers", {"wallet": NEWCOMER, "tier": "member"})
    claim = _ask(f"{url}/v1/claim", voucher["signed"])
    give_up = time.monotonic() + 60
    while claim["phase"] == "pending" and time.monotonic() < give_up:
        time.sleep(0.1)
        claim = _ask(url + claim["status_url"])
    out.print(f"6. {NEWCOMER} claimed a card with a voucher over HTTP and paid nothing: {claim['phase']}")
    return claim


def _gate(url: str, wallet: str, step: int) -> dict[str, Any]:
    answer = _ask(f"{url}/v1/gate", {"wallet": wallet, "conditions": {"min_tier": "gold", "stamps": ["latte-week"]}})
    why = "; ".join(reason["sentence"] for reason in answer["reasons"])
    out.print(f"{step}. Gold with the stamp latte-week? {wallet}: {'yes' if answer['allowed'] else 'no, ' + why}")
    return answer


def _ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A question to our own server on loopback."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 our own loopback URL
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise ProgramProblem(f"{url} answered {refusal.code}: {refusal.read().decode()}") from None


def _summary(
    app: App, here: Opened, cards: MintPlan, stamps: MintPlan, claim: dict[str, Any], gates: list[dict[str, Any]]
) -> None:
    table = Table("what happened", "how many", "gas each", title=here.program.name)
    card_gas = minting.gas_used(app, here, cards)
    stamp_gas = minting.gas_used(app, here, stamps)
    (receipt,) = app.node.receipts([str(claim["transaction"])])
    table.add_row("cards minted in a batch", str(len(cards.rows)), f"{card_gas // len(cards.rows):,}")
    table.add_row("stamps given in a batch", str(len(stamps.rows)), f"{stamp_gas // len(stamps.rows):,}")
    table.add_row("card claimed by voucher", "1", f"{receipt.gas_used:,}" if receipt is not None else "?")
    table.add_row("yes at the gate", str(sum(gate["allowed"] for gate in gates)), "0")
    table.add_row("no at the gate", str(sum(not gate["allowed"] for gate in gates)), "0")
    out.print(table)
    peers = Table("gas of one card", "alone", "each of 100", title="Others, measured by make bench-gas")
    for name, alone, each in PEERS:
        peers.add_row(name, f"{alone:,}", f"{each:,}")
    out.print(peers)
