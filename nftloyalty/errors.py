"""Every error this package raises on purpose.

    LoyaltyError
    ├── BadInput                  a file, option or request is wrong: names every place and its mend
    ├── Unknown                   something asked for by name does not exist
    ├── KeyProblem                a key is missing, exists already, its password is wrong, or its keeper refuses
    │   └── KeyUnreachable        whoever keeps the key does not answer now; waiting may help
    ├── ProgramProblem            the program is not open, or differs from what was asked
    │   └── SignedElsewhere       somebody must sign whose key is not here
    ├── ChainProblem
    │   ├── NodeUnreachable       no answer from the node
    │   ├── NodeRefused           the node answered with a JSON-RPC error
    │   ├── WrongChain            the node serves another chain than the program's
    │   ├── ChainRestarted        the node's chain is not the one this process began with
    │   ├── FeesTooHigh           gas costs more than the operator's ceiling
    │   ├── Reverted              a contract refused, with its decoded error
    │   └── OutOfFunds            the signer can't pay
    ├── SigningProblem
    │   ├── SignerBusy            another process holds the signer's lease
    │   └── SignerHalted          the chain and our books disagree about the signer
    ├── IndexHalted               what the index took for final is not on the chain any more
    ├── IndexBehind               the index is too far behind the chain to answer from
    ├── RequestRefused
    │   ├── AskedOtherwise        another card was asked for before, for the same wallet
    │   ├── KeyReused             the Idempotency-Key came with another body before
    │   ├── InFlight              the first request of that key is still being worked at
    │   └── IntakeFull            too many requests wait already, or the intake stops
    ├── DatabaseProblem           the database can't be opened, reached or written to
    └── QuotaSpent                today's quota is too small for what is left

`code` is stable and may be matched by programs; `mend` says what to do. `web/errors.py` alone knows HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class LoyaltyError(Exception):
    """Root of the tree. `str(error)` is the sentence shown to people; it never holds a secret."""

    code: str = "error"

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where it is (`line 7`, `stamps[2].cap`), what is wrong, and how to mend it."""

    place: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" ({self.mend})" if self.mend else "")


class BadInput(LoyaltyError):
    """An input is wrong. All problems are collected before it is raised, and nothing has been changed."""

    code = "bad_input"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{source}: {count} problem{'' if count == 1 else 's'}; nothing was changed")
        self.source = source
        self.problems = tuple(problems)


class Unknown(LoyaltyError):
    code = "unknown"


class KeyProblem(LoyaltyError):
    code = "key_problem"


class KeyUnreachable(KeyProblem):
    """Who keeps the key gives no answer, or is too busy for one. Nothing is wrong with the key: ask again later."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(
            f"the key {key} can't be used now: {why}",
            mend="check the network and the state of the key service; nothing is lost, run it again",
        )
        self.key = key
        self.why = why


class ProgramProblem(LoyaltyError):
    code = "program_problem"


class SignedElsewhere(ProgramProblem):
    """The power lies with an address whose key is not here, and for which nobody sends. Nothing was accepted."""

    code = "signed_elsewhere"


class ChainProblem(LoyaltyError):
    code = "chain_problem"


class NodeUnreachable(ChainProblem):
    code = "node_unreachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"no answer from the node at {url}: {why}", mend="check the address and that the node is running"
        )
        self.url = url


class NodeRefused(ChainProblem):
    """A JSON-RPC error answer. `data` is the node's error data, revert bytes included, as 0x-hex if it gave any."""

    code = "node_refused"

    def __init__(self, method: str, rpc_code: int, rpc_message: str, data: str = "") -> None:
        super().__init__(f"the node refused {method}: {rpc_message} ({rpc_code})")
        self.method = method
        self.rpc_code = rpc_code
        self.rpc_message = rpc_message
        self.data = data


class WrongChain(ChainProblem):
    code = "wrong_chain"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the node serves chain {found}, the program belongs on chain {expected}",
            mend="point --rpc at a node of the right chain, or change [chain] id in program.toml",
        )
        self.expected = expected
        self.found = found


class ChainRestarted(ChainProblem):
    """The chain id is the same and block 0 is another one: a development chain was started anew."""

    code = "chain_restarted"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"the node at {url} serves another chain than when this began, with the same chain id",
            mend="run the command again; on a new chain the program is opened first, with `nftloyalty deploy`",
        )


class FeesTooHigh(ChainProblem):
    """`base_fee` and `ceiling` in wei per gas."""

    code = "fees_too_high"

    def __init__(self, base_fee: int, ceiling: int) -> None:
        super().__init__(
            f"gas costs {base_fee / 10**9:.9g} gwei now, above the ceiling of {ceiling / 10**9:.9g} gwei",
            mend="wait until it is cheaper, or raise NFTLOYALTY_MAX_FEE_GWEI",
        )
        self.base_fee = base_fee
        self.ceiling = ceiling


class Reverted(ChainProblem):
    """A contract refused. `name` is the Solidity error's name ("" if it can't be decoded), `values` its named values.

    `sentence`, `mend` and `code` are those of domain/refusal.py, where it knows the error.
    """

    code = "reverted"

    def __init__(
        self,
        name: str,
        values: dict[str, Any],
        data: str = "",
        *,
        sentence: str = "",
        mend: str = "",
        code: str = "reverted",
    ) -> None:
        shown = ", ".join(f"{key} {value}" for key, value in values.items())
        what = f"{name}({shown})" if name else (f"unknown error {data}" if data and data != "0x" else "no reason given")
        super().__init__(sentence or f"the contract refused: {what}", mend=mend)
        self.code = code
        self.name = name
        self.values = values
        self.data = data


class OutOfFunds(ChainProblem):
    code = "out_of_funds"

    def __init__(self, address: str, has_wei: int, needs_wei: int) -> None:
        super().__init__(
            f"{address} has {has_wei / 10**18:.6f} coins and needs about {needs_wei / 10**18:.6f}",
            mend=f"send it at least {(needs_wei - has_wei) / 10**18:.6f} more",
        )
        self.address = address
        self.has_wei = has_wei
        self.needs_wei = needs_wei


class SigningProblem(LoyaltyError):
    code = "signing_problem"


class SignerBusy(SigningProblem):
    code = "signer_busy"


class SignerHalted(SigningProblem):
    code = "signer_halted"


class IndexHalted(LoyaltyError):
    """The index of a program stands still until an operator rebuilds it. `program` is its id in program.toml."""

    code = "index_halted"

    def __init__(self, program: str, incident: str) -> None:
        super().__init__(
            f"the index of {program!r} is halted: {incident}",
            mend="make sure that the node is on the right chain and that finality_blocks is large enough, then run "
            "`nftloyalty index rebuild`",
        )
        self.program = program
        self.incident = incident


class IndexBehind(LoyaltyError):
    """An answer from the index would be older than may be."""

    code = "index_behind"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the index {what}",
            mend="see that `nftloyalty worker` runs and reaches its node; consistency live asks the node instead",
        )


class RequestRefused(LoyaltyError):
    """A request that can't be taken in as it is. Nothing was changed, and nothing is kept of it."""


class AskedOtherwise(RequestRefused):
    """`intent` is the public id of the one that was asked for before, `before` what that is."""

    code = "asked_otherwise"

    def __init__(self, wallet: str, intent: str, before: str) -> None:
        super().__init__(
            f"{wallet} was minted, or is being minted, {before}: {intent}",
            mend="ask for the same, or change the card once it is there",
        )
        self.wallet = wallet
        self.intent = intent
        self.before = before


class KeyReused(RequestRefused):
    code = "key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the Idempotency-Key {key} was used for another body before", mend="a new key for each new request"
        )
        self.key = key


class InFlight(RequestRefused):
    code = "in_flight"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the first request with the Idempotency-Key {key} is still being worked at", mend="ask again in a moment"
        )
        self.key = key


class IntakeFull(RequestRefused):
    code = "intake_full"

    def __init__(self, why: str) -> None:
        super().__init__(f"no more can be taken in now: {why}", mend="ask again in a moment, with the same key")


class DatabaseProblem(LoyaltyError):
    """The database can't be opened or reached, or fails at a statement or commit: it is locked, full, damaged, gone.

    `database` is its address without the password. What a failed transaction was to do may or may not be done; asking
    for the same thing again is safe.
    """

    code = "database_problem"

    def __init__(self, database: str, why: str, *, mend: str = "") -> None:
        super().__init__(
            f"the database {database} can't be used: {why}",
            mend=mend or "check DATABASE_URL, that the server runs, and that the folder can be written to",
        )
        self.database = database


class QuotaSpent(LoyaltyError):
    code = "quota_spent"
