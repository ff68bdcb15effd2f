"""`nftloyalty mint` and `nftloyalty stamp`: cards and stamps for the members of a file."""

import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nftloyalty.app import minting
from nftloyalty.app.context import App
from nftloyalty.app.gathering import quota_left
from nftloyalty.app.minting import MintPlan, MintReport
from nftloyalty.app.opening import Opened, opened
from nftloyalty.cli.session import err, funding_hint, out, print_json, read_lines, running
from nftloyalty.domain.cost import show
from nftloyalty.domain.roster import Outcome
from nftloyalty.domain.times import shown_start
from nftloyalty.errors import LoyaltyError, OutOfFunds, QuotaSpent, SignerBusy

File = Annotated[Path, typer.Argument(help="CSV file; its first line names the columns.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and show the cost; send nothing.")]
Spread = Annotated[bool, typer.Option("--spread", help="If today's quota is too small, go on on the next days.")]
Price = Annotated[str | None, typer.Option("--price", help="What one coin costs, to show the cost in money.")]
Coin = Annotated[str, typer.Option("--coin", help="The chain's coin.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def add_to(app: typer.Typer) -> None:
    app.command("mint")(mint)
    app.command("stamp")(stamp)


def mint(
    ctx: typer.Context,
    file: File,
    dry_run: DryRun = False,
    spread: Spread = False,
    price: Price = None,
    coin: Coin = "ETH",
    as_json: Json = False,
) -> None:
    """Mint membership cards to a file of members (address, tier, expiry).

    Nothing is sent while a row is bad; each is named. The same file can always be run again: nobody gets a second card.

    Example: nftloyalty mint members.csv
    """
    with running(ctx) as (app, program):
        here = opened(app, program)
        plan = minting.plan_cards(app, here, read_lines(file), str(file))
        _run(app, here, plan, dry_run, spread, price, coin, as_json)


def stamp(
    ctx: typer.Context,
    stamp_id: Annotated[
        str, typer.Argument(help="The stamp's id in program.toml, for a stamp card <id>-1, <id>-2 ...")
    ],
    file: File,
    dry_run: DryRun = False,
    spread: Spread = False,
    price: Price = None,
    coin: Coin = "ETH",
    as_json: Json = False,
) -> None:
    """Give a stamp to a file of wallets (address).

    Example: nftloyalty stamp latte guests.csv
    """
    with running(ctx) as (app, program):
        here = opened(app, program)
        plan = minting.plan_stamps(app, here, read_lines(file), str(file), stamp_id)
        _run(app, here, plan, dry_run, spread, price, coin, as_json)


def _run(
    app: App,
    here: Opened,
    plan: MintPlan,
    dry_run: bool,
    spread: bool,
    price: str | None,
    coin: str,
    as_json: bool,
) -> None:
    left = _quota_left(app, here, plan)
    _show_plan(plan, left, price, coin)
    if dry_run:
        _end_dry_run(app, plan, left, spread, as_json)
        return
    told: list[str] = []

    def on_busy(busy: SignerBusy) -> None:
        if not told:
            err.print(
                "Another command, `nftloyalty serve` perhaps, sends with this key and does this work too; this one "
                f"watches. Ctrl-C is safe. ({busy.message})"
            )
            told.append(busy.message)

    def on_trouble(trouble: LoyaltyError) -> None:
        err.print(f"{trouble.message}. Trying again; Ctrl-C is safe, and the same command goes on.")

    with _Bar(plan) as (advance, waiting_until):
        report = minting.mint(
            app,
            here,
            plan,
            spread=spread,
            progress=advance,
            waiting_until=waiting_until,
            on_busy=on_busy,
            on_trouble=on_trouble,
        )
    _show_report(report, as_json)
    if report.rejected or report.waiting:
        raise typer.Exit(1)


def _quota_left(app: App, here: Opened, plan: MintPlan) -> int:
    """What today's quota has room for, also where the plan had no reason to ask because every row is done."""
    asked = plan.open_rows or plan.count(Outcome.CONTINUING)
    return max(0, plan.quota_left if asked else quota_left(app, here.row, plan.kind))


def _show_plan(plan: MintPlan, left: int, price: str | None, coin: str) -> None:
    todo = len(plan.open_rows)
    err.print(
        f"{plan.source}: {_counted(len(plan.rows), 'good row')}: {todo:,} to do, "
        f"{plan.count(Outcome.CONTINUING):,} begun and not final, {plan.count(Outcome.DONE):,} done."
    )
    if plan.gone:
        err.print(
            f"{plan.gone:,} of those done hold it no longer: they left, moved to another wallet, or were revoked."
        )
    if plan.batches is not None and plan.cost is not None:
        about = "" if left else "about (no row can be tried while the quota is used up) "
        err.print(
            f"{_counted(plan.batches.batches, 'transaction')} of up to {_counted(plan.batches.size, 'row')}, "
            f"{about}{show(plan.cost, coin, decimal_of(price))}."
        )
        err.print(f"Today's quota has room for {left:,} more.")
        if todo > left:
            err.print(f"That is too little for this file by {todo - left:,}: it needs --spread, or a higher quota.")


def _end_dry_run(app: App, plan: MintPlan, left: int, spread: bool, as_json: bool) -> None:
    """Say what would stop the real run before it sends anything, and end with that run's exit status."""
    balance = app.node.balance(plan.minter)
    obstacles: list[LoyaltyError] = []
    if plan.open_rows and len(plan.open_rows) > left and not spread:
        obstacles.append(
            QuotaSpent(
                f"{_counted(len(plan.open_rows), 'row')} to mint, but today's quota has {left:,} left",
                mend="spread it over days with --spread, or let the owner raise it with `nftloyalty quota set`",
            )
        )
    if plan.cost is not None and balance < plan.cost.wei:
        obstacles.append(OutOfFunds(plan.minter, balance, plan.cost.wei))
    if as_json:
        print_json({**_plan_json(plan, left), "balance_wei": str(balance), "obstacles": [o.code for o in obstacles]})
    for obstacle in obstacles:
        err.print("Error:", obstacle.message, style="red")
        err.print("Mend:", obstacle.mend)
        if isinstance(obstacle, OutOfFunds) and (hint := funding_hint(app, obstacle)):
            err.print(hint)
    if obstacles:
        raise typer.Exit(3)


def _plan_json(plan: MintPlan, left: int) -> dict[str, object]:
    return {
        "rows": len(plan.rows),
        "to_do": len(plan.open_rows),
        "under_way": plan.count(Outcome.CONTINUING),
        "done": plan.count(Outcome.DONE),
        "transactions": plan.batches.batches if plan.batches else 0,
        "gas": plan.batches.gas if plan.batches else 0,
        "gas_is_measured": plan.batches is None or left > 0,
        "cost_wei": str(plan.cost.wei) if plan.cost else "0",
        "quota_left": left,
    }


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def decimal_of(price: str | None) -> Decimal | None:
    if price is None:
        return None
    try:
        found = Decimal(price)
    except ArithmeticError:
        found = Decimal("NaN")
    if not found.is_finite() or found < 0:
        raise typer.BadParameter(f"{price!r} is not a price", param_hint="--price")
    return found


LINE_SECONDS = 30.0
WAIT_SECONDS = 60.0


class _Rate(ProgressColumn):
    """Rows a second; Rich's own column shows a speed only where the total is unknown."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} a second")


class _Bar:
    """A progress bar on the error stream, with rate and time left; where that is no terminal, a line now and then."""

    def __init__(self, plan: MintPlan) -> None:
        self._total = len(plan.open_rows) + plan.count(Outcome.CONTINUING)
        self._most = 0
        self._line_at = time.monotonic() + LINE_SECONDS
        self._told: datetime | None = None
        self._progress = Progress(
            TextColumn("on chain"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=err,
            disable=self._total == 0 or not err.is_terminal,
        )
        self._task = self._progress.add_task("on chain", total=self._total)

    def __enter__(self) -> tuple[Callable[[int], None], Callable[[datetime], None]]:
        return self._advance, self._wait

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _advance(self, waiting: int) -> None:
        # Begun with the first news and not before: it would be drawn over the question for a password.
        self._progress.start()
        self._most = max(self._most, self._total - waiting)
        self._progress.update(self._task, completed=self._most)
        if not err.is_terminal and time.monotonic() >= self._line_at:
            err.print(f"{self._most:,} of {self._total:,} on chain")
            self._line_at = time.monotonic() + LINE_SECONDS

    def _wait(self, moment: datetime) -> None:
        if moment != self._told:
            self._told = moment
            self._progress.console.print(
                f"Today's quota is used up. Going on {shown_start(int(moment.timestamp()))}; Ctrl-C stops safely until "
                "then, and the same command goes on."
            )
        time.sleep(WAIT_SECONDS)


def _show_report(report: MintReport, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "total": report.total,
                "final": report.final,
                "included": report.included,
                "waiting": report.waiting,
                "rejected": [
                    {"line": line, "address": address, "reason": reason} for line, address, reason in report.rejected
                ],
            }
        )
        return
    final = f"{report.final:,} of them final" if report.included else "all final"
    out.print(f"{report.on_chain:,} of {report.total:,} minted" + (f", {final}." if report.on_chain else "."))
    if report.waiting:
        out.print(
            f"{report.waiting:,} are in transactions of another key that are not on chain yet: run this again later."
        )
    for line, address, reason in report.rejected:
        out.print(f"line {line}: {address} was left out: {reason}")
