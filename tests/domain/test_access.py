import pytest

from nftloyalty.domain.access import (
    HERE,
    PUBLIC_SCOPES,
    Caller,
    GivenKey,
    KeyKind,
    KeyUnknown,
    NotAllowed,
    Scope,
    WrongOrigin,
    check_origin,
    hash_of,
    is_secret_of,
    mode_of,
    parse_key,
    parse_origin,
    problems_of,
    scope_named,
    written_key,
)

KEY_ID = "sk0123456789abcd"
SECRET = "0123456789abcdefghjkmnpqrstvwxyz"
SHOP = "https://shop.example"


def test_a_key_is_read_as_it_is_written() -> None:
    text = written_key(31337, KEY_ID, SECRET)
    assert text == f"nftl_test_{KEY_ID}_{SECRET}"
    assert parse_key(text) == GivenKey("test", KEY_ID, SECRET)
    assert parse_key(written_key(1, KEY_ID, SECRET)).mode == "live"


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"nftl_test_{KEY_ID}_{SECRET[1:]}",
        f"nftl_test_{KEY_ID}_{SECRET}0",
        f"nftl_test_{KEY_ID}_{SECRET}\n",
        f"nftl_prod_{KEY_ID}_{SECRET}",
        f"nftl_test_xk{KEY_ID[2:]}_{SECRET}",
        f"nftl_test_{KEY_ID}_{SECRET[:-1]}o",
        f"NFTL_TEST_{KEY_ID}_{SECRET}".upper(),
        f"nftl_test_{KEY_ID}_{SECRET[:-1]}\u0660",
    ],
)
def test_what_is_no_key_is_not_known(text: str) -> None:
    with pytest.raises(KeyUnknown):
        parse_key(text)


def test_a_given_key_never_shows_its_secret() -> None:
    given = parse_key(written_key(1, KEY_ID, SECRET))
    assert SECRET not in repr(given) and SECRET not in str(given) and SECRET not in f"{given!r:>200}"


def test_a_secret_is_known_by_its_hash_alone() -> None:
    stored = hash_of(SECRET)
    assert len(stored) == 32 and SECRET.encode() not in stored
    assert is_secret_of(SECRET, stored)
    assert not is_secret_of(SECRET[:-1] + "0", stored)


def test_chains_of_tools_and_test_networks_are_test() -> None:
    assert {mode_of(chain) for chain in (1337, 31337, 131277322940537, 11155111, 84532)} == {"test"}
    assert {mode_of(chain) for chain in (1, 10, 137, 8453, 42161)} == {"live"}


def test_a_scope_allows_itself_and_admin_allows_all() -> None:
    caller = Caller(KEY_ID, frozenset({Scope.CHECKS_READ}))
    caller.require(Scope.CHECKS_READ)
    for scope in set(Scope) - {Scope.CHECKS_READ}:
        with pytest.raises(NotAllowed, match=KEY_ID) as refused:
            caller.require(scope)
        assert scope.value in refused.value.mend
    for scope in Scope:
        HERE.require(scope)
        assert scope.sentence


def test_a_scope_that_is_none_is_answered_with_those_there_are() -> None:
    assert scope_named(" Mints:Write ") is Scope.MINTS_WRITE
    with pytest.raises(ValueError, match=r"checks:read.*admin"):
        scope_named("mints")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example", SHOP),
        (" HTTPS://Shop.Example/ ", SHOP),
        ("https://shop.example:443", SHOP),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop.example",
        "http://shop.example",
        "https://",
        "https://*.shop.example",
        "https://shop.example/cart",
        "https://shop.example?a",
        "https://shop.example#a",
        "https://a@shop.example",
        "https://shop.example:99999",
        "https://łódź.example",
        "https://[::1",
        "ftp://shop.example",
        "null",
    ],
)
def test_what_is_no_single_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        parse_origin(text)


def test_a_publishable_key_is_good_in_its_own_pages_only() -> None:
    check_origin("pk", KeyKind.PUBLISHABLE, [SHOP], SHOP)
    for origin in ("", "null", "https://other.example", "https://shop.example.evil.example", "http://shop.example"):
        with pytest.raises(WrongOrigin) as refused:
            check_origin("pk", KeyKind.PUBLISHABLE, [SHOP], origin)
        assert refused.value.code == "wrong_origin"


def test_a_servers_key_is_refused_when_a_page_sends_it() -> None:
    check_origin("sk", KeyKind.SERVER, [], "")
    for origin in (SHOP, "http://localhost:3000", "null"):
        with pytest.raises(WrongOrigin) as refused:
            check_origin("sk", KeyKind.SERVER, [], origin)
        assert refused.value.code == "key_in_page" and "revoke it" in refused.value.mend


def test_a_key_that_everybody_can_read_gives_nothing_away() -> None:
    assert {Scope.CHECKS_READ, Scope.CLAIMS_WRITE} == PUBLIC_SCOPES
    assert problems_of(KeyKind.PUBLISHABLE, [Scope.CHECKS_READ], [SHOP]) == []
    for scope in set(Scope) - PUBLIC_SCOPES:
        assert [field for field, *_ in problems_of(KeyKind.PUBLISHABLE, [scope], [SHOP])] == ["scopes"]


def test_a_key_needs_scopes_and_a_publishable_one_origins_and_no_other() -> None:
    assert problems_of(KeyKind.SERVER, [Scope.ADMIN], []) == []
    assert [field for field, *_ in problems_of(KeyKind.SERVER, [], [])] == ["scopes"]
    assert [field for field, *_ in problems_of(KeyKind.PUBLISHABLE, [Scope.CHECKS_READ], [])] == ["origins"]
    assert [field for field, *_ in problems_of(KeyKind.SERVER, [Scope.ADMIN], [SHOP])] == ["origins"]
