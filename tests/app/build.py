"""Programs that are open on a chain, with everything around them, for the tests of the outer rings."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from nftloyalty.app import deploying, funding, indexing, minting
from nftloyalty.app.context import App, build_app, system_now
from nftloyalty.app.minting import MintPlan, MintReport
from nftloyalty.app.opening import Opened, opened
from nftloyalty.app.sending import Sender
from nftloyalty.app.settling import Watcher
from nftloyalty.chain import signatures
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.config import Settings, from_environment
from nftloyalty.domain.address import Address
from nftloyalty.domain.answer import Answer, AnswerKey, Said
from nftloyalty.domain.program import Program
from nftloyalty.domain.program_file import read_program
from nftloyalty.domain.words import card_item
from nftloyalty.vault.keystore import Keystore
from tests.chain.opened import key, wait
from tests.domain.build import wallet

PASSWORD = "correct horse battery"
KEYS = ("owner", "hot", "desk", "guard")
COIN = 10**18
QUICK_WORK = 2**12
"""scrypt's cost in tests: a key opens in milliseconds."""

OUTSIDER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""The first account of every development chain, which its node signs for: a minter that is none of our keys."""

TIERS = """
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "gold"
name = "Gold"
"""

STAMPS = """
[[stamps]]
id = "latte"
number = 1
name = "Latte"
[[stamps]]
id = "tasting"
number = 2
name = "Tasting"
min_tier = "gold"
"""

_numbers = count(1)


def program_text(
    program_id: str = "", *, cards: str = "", terms: str = "", rest: str = STAMPS, powers: str = ""
) -> str:
    """A program.toml with an id of its own. `terms` go under [program], `cards` under [quotas.cards]."""
    program_id = program_id or f"bean-{next(_numbers)}"
    powers = powers or (
        f'opener = "owner"\nowner = "owner"\nminters = ["hot", "{OUTSIDER}"]\nsigners = ["hot"]\n'
        'managers = ["desk"]\nguardians = ["guard"]\n'
    )
    return (
        f'[program]\nid = "{program_id}"\nbrand = "Bean"\nname = "Bean Club"\nsymbol = "BEAN"\n{terms}\n'
        f"[powers]\n{powers}\n[quotas.cards]\n{cards}\n{TIERS}\n{rest}"
    )


def program_of(text: str) -> Program:
    return read_program(text, "program.toml")


def settings_of(folder: Path, rpc_url: str, database_url: str = "", **more: str) -> Settings:
    return from_environment(
        {
            "NFTLOYALTY_HOME": str(folder),
            "NFTLOYALTY_RPC_URL": rpc_url,
            "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
            "DATABASE_URL": database_url,
            **more,
        }
    )


def app_of(settings: Settings, now: Callable[[], datetime] = system_now) -> App:
    """An app whose keys open quickly."""
    return replace(build_app(settings, now=now), keystore=Keystore(settings.keys_folder, work=QUICK_WORK))


def make_keys(app: App, names: Iterable[str] = KEYS, coins: int = 10) -> None:
    """New keys with coins on a development chain."""
    for name in names:
        funding.fund(app, app.keystore.create(name, PASSWORD), coins * COIN)


@dataclass(frozen=True)
class World:
    """An app and a program that is open on its chain."""

    app: App
    program: Program

    @property
    def here(self) -> Opened:
        """As a command finds it now."""
        return opened(self.app, self.program)

    def index(self) -> None:
        """Bring the index to the newest block."""
        indexing.catch_up(self.app, self.here.attached, self.program.chain.finality_blocks)

    def address(self, key: str) -> Address:
        return self.app.keystore.address(key)

    def plan(self, *rows: str, header: str = "address,tier,expiry") -> MintPlan:
        return minting.plan_cards(self.app, self.here, [header, *rows], "members.csv")

    def mint(self, *rows: str) -> MintReport:
        """Cards for rows such as `0x...,gold,never`."""
        return minting.mint(self.app, self.here, self.plan(*rows))

    def plan_stamps(self, stamp: str, *wallets: str) -> MintPlan:
        return minting.plan_stamps(self.app, self.here, ["address", *wallets], "guests.csv", stamp)

    def stamp(self, stamp: str, *wallets: str) -> MintReport:
        return minting.mint(self.app, self.here, self.plan_stamps(stamp, *wallets))

    def mint_outside(self, *wallets: Address, tier: int = 1, expires_at: int = 0) -> None:
        """Cards that no intent of ours knows of."""
        items = [card_item(wallet, tier, expires_at) for wallet in wallets]
        self.send_outside(Membership.encode_mint_batch(items))

    def send_outside(self, data: bytes) -> None:
        """A call of the membership contract by the outsider; returns when it is in a block, a moment later on anvil."""
        tx_hash = self.app.node.send_unlocked(OUTSIDER, self.here.membership.address, data=data)
        assert wait(self.app.node, tx_hash).succeeded

    def leave(self, member: LocalSigner) -> None:
        """A member's card is burned by its holder, who signs the consent."""
        here = self.here
        nonce = here.membership.words_of([member.address])[0].nonce
        digest = signatures.burn_digest(
            here.attached.chain_id, here.membership.address, member.address, nonce, NO_DEADLINE
        )
        self.send_outside(Membership.encode_burn(member.address, NO_DEADLINE, member.sign_digest(digest)))

    def move(self, source: LocalSigner, target: LocalSigner) -> None:
        """A member's card goes to another wallet, with both consents."""
        here = self.here
        card = here.membership.words_of([source.address])[0]
        move = (source.address, target.address, card.serial, 0, card.nonce, NO_DEADLINE)
        digest = signatures.migrate_digest(here.attached.chain_id, here.membership.address, *move)
        consents = source.sign_digest(digest), target.sign_digest(digest)
        self.send_outside(Membership.encode_migrate(*move, *consents))

    def nonces(self) -> dict[str, int]:
        """How many transactions each key has sent so far."""
        return {name: self.app.node.nonce(self.address(name)) for name in KEYS}


def open_world(app: App, text: str = "", coins: int = 10) -> World:
    """Make the keys and open the program."""
    make_keys(app, coins=coins)
    program = program_of(text or program_text())
    deploying.deploy(app, program)
    return World(app, program)


def does(step: str) -> Any:
    """The class whose method this step of sending is, for tests that break it."""
    return Sender if hasattr(Sender, step) else Watcher


NO_DEADLINE = (1 << 40) - 1


def in_days(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


_wallets = count(1000)
_members = count(50_000)


def new_wallet() -> Address:
    """A wallet that nobody used yet."""
    return wallet(next(_wallets))


def new_member() -> LocalSigner:
    """A wallet whose key is known, so that its holder can consent."""
    return key(next(_members))


class Clock:
    """A clock that goes on with real time and can be set forward, for the app and for the chain."""

    def __init__(self, start: datetime) -> None:
        self._ahead = start - datetime.now(UTC)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def time(self) -> float:
        return self.now().timestamp()

    def forward(self, step: timedelta) -> None:
        self._ahead += step


def request(
    way: Callable[..., None], body: object, told: Callable[..., Said], key: AnswerKey | None = None
) -> "Future[Answer]":
    """What an intake makes of a request."""
    outcome: Future[Answer] = Future()
    way(body, told, key, outcome)
    return outcome
