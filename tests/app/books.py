"""A program in a database and nothing else: its node can't be reached, so whatever works here asks no node."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from nftloyalty.app.context import App, random_id
from nftloyalty.app.opening import Attached, Opened
from nftloyalty.chain.client import Block, Node
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.config import from_environment
from nftloyalty.domain.program_file import read_program
from nftloyalty.store import chains, programs, signers
from nftloyalty.store.engine import begin
from nftloyalty.vault.keystore import Keystore
from tests.store.build import CHAIN_ID, GENESIS, MINTER, Ground
from tests.store.build import NOW as THEN
from tests.store.build import program as program_row

NOBODY = "http://127.0.0.1:9"

TEXT = f"""
[program]
id = "coffee"
brand = "Coffee"
name = "Coffee Club"
symbol = "COF"
[powers]
opener = "owner"
owner = "{MINTER}"
minters = ["{MINTER}"]
signers = ["{MINTER}"]
managers = ["{MINTER}"]
guardians = ["{MINTER}"]
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "gold"
name = "Gold"
[[stamps]]
id = "latte"
number = 1
name = "Latte"
[[stamps]]
id = "old"
number = 2
name = "Old"
closes = 2020-01-01
"""


def books(engine: Engine, now: Callable[[], datetime] = lambda: THEN) -> tuple[App, Opened]:
    """The app and its open program, on a database that may be empty. Every call opens the same program."""
    app = App(
        settings=from_environment({"NFTLOYALTY_HOME": "/nowhere", "NFTLOYALTY_RPC_URL": NOBODY}),
        engine=engine,
        node=Node(NOBODY),
        keystore=Keystore(Path("/nowhere")),
        now=now,
        new_id=random_id,
        password=lambda name: "",
    )
    program = read_program(TEXT, "program.toml")
    with begin(engine) as tx:
        chain = chains.known_chain(tx, CHAIN_ID, GENESIS, THEN)
        row = programs.find(tx, chain, program.id) or program_row(tx, chain, program.id)
    attached = Attached(chain, CHAIN_ID, GENESIS, Block(0, GENESIS, GENESIS, 0, 0))
    return app, Opened(program, attached, row, Membership(app.node, row.membership), Stamps(app.node, row.stamps))


def ground_of(engine: Engine, opened: Opened) -> Ground:
    """For what a sender does to the same books."""
    with begin(engine) as tx:
        signer = signers.register(tx, opened.attached.row, MINTER).id
        signers.set_next_nonce_first_time(tx, signer, 0)
        epoch = signers.take_lease(tx, signer, "me", THEN, 60, lambda owner: True)
    return Ground(opened.attached.row, opened.row.id, signer, epoch)
