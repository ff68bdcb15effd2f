"""What can go wrong between a storefront and the API."""

from collections.abc import Mapping, Sequence
from typing import Any


class Refused(Exception):
    """The server has answered, and the answer is no. `code` is stable; the words are for people.

    `errors` are the fields that are wrong, each with `pointer` (JSON Pointer, RFC 6901), `detail` and `mend`.
    `request_id` finds the request in the server's log.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown_answer"))
        self.title = str(problem.get("title", f"the server answered {status}"))
        self.detail = str(problem.get("detail", ""))
        self.mend = str(problem.get("mend", ""))
        self.errors: Sequence[Mapping[str, str]] = problem.get("errors", ())
        self.request_id = str(problem.get("request_id", ""))
        fields = "; ".join(f"{each.get('pointer')}: {each.get('detail')}" for each in self.errors)
        said = ": ".join(part for part in (self.title, self.detail, fields) if part)
        super().__init__(f"{said} ({self.code})" + (f"; {self.mend}" if self.mend else ""))


class Unreachable(Exception):
    """No answer after all tries. What was asked for may or may not be done: asking again with the same key is safe."""

    def __init__(self, url: str, key: str, why: str) -> None:
        super().__init__(f"no answer from {url}: {why}" + (f"; ask again with the key {key!r}" if key else ""))
        self.url = url
        self.key = key


class NotTold(ValueError):
    """A message that is not to be believed: it is not signed with this secret, changed, too old, or no message."""
