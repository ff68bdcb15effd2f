"""What comes over the wire is looked at before it is parsed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import transport


@given(
    st.recursive(
        st.none() | st.text(alphabet='[]{}"\\a', max_size=6) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=3),
        max_leaves=20,
    )
)
def test_brackets_in_texts_are_not_taken_for_depth(value: Any) -> None:
    assert not transport._too_deep(json.dumps(value).encode())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 90 + "]" * 90,
        '{"a":' * 90 + "1" + "}" * 90,
        "[" * 90,
        # Closing brackets in texts that would hide the depth from one who counts carelessly.
        '["]",' * 90 + "1" + "]" * 90,
        '["\\"]",' * 90 + "1" + "]" * 90,
    ],
)
def test_depth_is_found_before_the_parser_meets_it(text: str) -> None:
    assert transport._too_deep(text.encode())
