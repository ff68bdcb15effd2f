"""Keys under which answers are kept."""

import pytest

from nftloyalty.domain.answer import answer_key, fingerprint
from nftloyalty.errors import BadInput


def test_a_body_has_one_fingerprint_however_it_is_written() -> None:
    assert fingerprint({"a": 1, "b": [None, "ż"]}) == fingerprint({"b": [None, "ż"], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert len(fingerprint({"half of a pair": "\ud800"})) == 32


@pytest.mark.parametrize("key", ["", "a b", "ż", "a\0", "a\n", "x" * 256])
def test_a_key_that_a_database_could_refuse_is_refused(key: str) -> None:
    with pytest.raises(BadInput) as refused:
        answer_key("POST /v1/mints", key, {}, kept=True)
    assert [problem.place for problem in refused.value.problems] == ["Idempotency-Key"]


def test_the_longest_key_is_kept_as_it_is() -> None:
    assert answer_key("POST /v1/mints", "~" * 255, {}, kept=True).key == "~" * 255
