"""`demo`: the whole road in one process, the index included."""

import re

from tests.cli.conftest import Run


def test_the_demo_goes_the_whole_road(run: Run) -> None:
    done = run("demo", "--exit", "--port", "0")
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line[:2] for line in lines if re.match(r"\d\.", line)] == [f"{step}." for step in range(1, 9)]
    assert "claimed a card with a voucher over HTTP and paid nothing: final" in done.out
    (yes,), (no,) = ([line for line in lines if line.startswith(step)] for step in ("7.", "8."))
    assert yes.endswith(": yes")
    assert no.endswith(": no, this wallet has no membership; the stamp latte-week is missing")
    assert re.search(r"yes at the gate +│ +1 ", done.out)
    assert re.search(r"no at the gate +│ +1 ", done.out)
