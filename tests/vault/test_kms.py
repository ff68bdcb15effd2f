"""A key in AWS KMS: what it is asked, what is believed of its answers, and what is said when there is none.

boto3's real client talks to a server of ours.
"""

import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKey
from eth_keys.constants import SECPK1_N
from pytest import LogCaptureFixture, MonkeyPatch

from nftloyalty.app.leases import LEASE_SECONDS
from nftloyalty.chain.signer import parse_der
from nftloyalty.errors import KeyProblem, KeyUnreachable
from nftloyalty.vault import kms as kms_module
from nftloyalty.vault.kms import KmsKey, KmsReference, address_of
from tests.vault import fake_kms
from tests.vault.fake_kms import (
    ADDRESS,
    BROKEN,
    DENIED,
    DISABLED,
    KEY,
    REGION,
    THROTTLED,
    FakeKms,
    Refusal,
    arn_of,
    set_credentials,
)

ROOT = Path(kms_module.__file__).parents[2]
DIGEST = bytes(range(32))
SECRETS = (fake_kms.ACCESS_KEY, fake_kms.SECRET_KEY, fake_kms.SESSION_TOKEN, fake_kms.ACCOUNT + ":assumed-role")

# openssl ecparam -name secp256k1 -genkey; openssl ec -pubout -outform DER, and with -conv_form compressed
OPENSSL_KEY = bytes.fromhex("de1a7b9439a8161ce33cc716e4f09a7f1637c1101f911833aa66a4f066f9572e")
OPENSSL_SPKI = bytes.fromhex(
    "3056301006072a8648ce3d020106052b8104000a034200040aa236eb2e2225a3e2d5a790e166cdda282bc3927c9dccf637e4a6eb28b6918c"
    "9cf7d64e4ed97dc0a195b725e7d748cb4b0c931709e63d0a1b4f56fefd9ea0de"
)
OPENSSL_COMPRESSED = bytes.fromhex(
    "3036301006072a8648ce3d020106052b8104000a032200020aa236eb2e2225a3e2d5a790e166cdda282bc3927c9dccf637e4a6eb28b6918c"
)


@pytest.fixture
def kms(monkeypatch: MonkeyPatch) -> Iterator[FakeKms]:
    set_credentials(monkeypatch)
    with FakeKms() as kms:
        yield kms


def key_of(kms: FakeKms, key_id: str = "", **more: Any) -> KmsKey:
    return KmsKey(KmsReference(key_id or kms.arn, "" if key_id.startswith("arn:") else REGION, kms.url), **more)


def everything_said(error: BaseException) -> str:
    said = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for hidden in (error.__cause__, error.__context__):
        if hidden is not None:
            said += everything_said(hidden)
    return said


# ---------------------------------------------------------------------------------------------------------------- roads


@pytest.mark.parametrize("form", ["arn", "key_id", "alias"])
def test_the_public_key_tells_the_address_and_the_key_that_is_meant_for_good(kms: FakeKms, form: str) -> None:
    found = key_of(kms, getattr(kms, form)).look()
    assert found.address == ADDRESS
    assert found.reference == KmsReference(kms.arn, REGION, kms.url)


def test_a_digest_is_signed_as_it_is_and_by_that_key(kms: FakeKms) -> None:
    signature = key_of(kms).sign(DIGEST)
    assert PublicKey.from_secret(KEY).verify(_low(signature), DIGEST, hasher=None)
    assert kms.signed == [(DIGEST, signature)]
    assert kms.calls == ["Sign"]


def _low(signature: bytes) -> bytes:
    """libsecp256k1 verifies only the low of the two signatures."""
    r, s = parse_der(signature)
    return fake_kms.der(r, min(s, SECPK1_N - s))


def test_the_same_digest_is_signed_anew_each_time_and_with_both_halves_of_s(kms: FakeKms) -> None:
    key = key_of(kms)
    signatures = {key.sign(DIGEST) for _ in range(6)}
    assert len(signatures) == 6
    high = [parse_der(each)[1] > SECPK1_N // 2 for each in signatures]
    assert sorted(high) == [False] * 3 + [True] * 3


def test_openssls_form_of_a_public_key_is_understood() -> None:
    expected = PublicKey.from_secret(OPENSSL_KEY).format(compressed=False)
    assert OPENSSL_SPKI.endswith(expected)
    assert address_of(OPENSSL_SPKI) == address_of(fake_kms.spki(OPENSSL_KEY))
    assert address_of(fake_kms.spki(KEY)) == ADDRESS


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        OPENSSL_COMPRESSED,
        OPENSSL_SPKI[:-1],
        OPENSSL_SPKI + b"\0",
        OPENSSL_SPKI[-65:],
        OPENSSL_SPKI[-64:],
        fake_kms.OF_ANOTHER_CURVE,
        OPENSSL_SPKI[:-1] + b"\0",  # not on the curve
        OPENSSL_SPKI[:-64] + bytes(64),
        OPENSSL_SPKI[:-64] + b"\xff" * 64,
        OPENSSL_SPKI.replace(bytes.fromhex("2b8104000a"), bytes.fromhex("2b81040022")),
    ],
)
def test_what_is_no_public_key_of_the_curve_has_no_address(public_key: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a secp256k1 public key|not on the curve"):
        address_of(public_key)


# ----------------------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize(
    ("key_id", "region", "endpoint"),
    [
        (arn_of("1234abcd"), "", ""),
        (arn_of("mrk-1234abcd"), REGION, ""),
        ("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd", "us-gov-west-1", ""),
        (
            f"arn:aws:kms:{REGION}:111122223333:alias/shop/minter",
            "",
            "https://vpce-1.kms.eu-central-1.vpce.amazonaws.com",
        ),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "ap-southeast-3", "http://127.0.0.1:4566"),
        ("alias/minter", "", "http://localhost:4566"),
    ],
)
def test_names_of_keys_that_are_taken(key_id: str, region: str, endpoint: str) -> None:
    KmsReference(key_id, region, endpoint)


@pytest.mark.parametrize(
    ("key_id", "region", "endpoint", "why"),
    [
        ("", "", "", "not the name of a key"),
        ("../1234", "", "", "not the name of a key"),
        ("arn:aws:s3:::bucket", "", "", "not the name of a key"),
        ("1234\n", "", "", "not the name of a key"),
        (arn_of("1234") + "\n", "", "", "not the name of a key"),
        ("1234", "Frankfurt am Main", "", "not an AWS region"),
        ("1234", "eu-central-1.evil.example/", "", "not an AWS region"),
        (arn_of("1234"), "us-east-1", "", "is in eu-central-1, not in us-east-1"),
        ("1234", "", "http://kms.example", "not an https:// address"),
        ("1234", "", "http://127.0.0.1.kms.example", "not an https:// address"),
        ("1234", "", "https://user:word@kms.example", "not an https:// address"),
        ("1234", "", "https://", "not an https:// address"),
        ("1234", "", "kms.example", "not an https:// address"),
        ("1234", "", "https://[", "not an https:// address"),
    ],
)
def test_what_can_be_no_key_is_refused_before_anybody_is_asked(
    key_id: str, region: str, endpoint: str, why: str
) -> None:
    with pytest.raises(KeyProblem, match=why) as refused:
        KmsReference(key_id, region, endpoint)
    assert "word" not in everything_said(refused.value).replace("password", "")


# -------------------------------------------------------------------------------------------------------------- answers


def test_a_key_of_another_curve_is_refused(kms: FakeKms) -> None:
    kms.give_another_curve()
    with pytest.raises(KeyProblem, match="of the spec ECC_NIST_P256 for SIGN_VERIFY") as refused:
        key_of(kms).look()
    assert "ECC_SECG_P256K1" in refused.value.mend


def test_a_curve_that_is_only_called_ours_is_refused(kms: FakeKms) -> None:
    kms.give_another_curve()
    kms.spec = "ECC_SECG_P256K1"
    with pytest.raises(KeyProblem, match="not a secp256k1 public key"):
        key_of(kms).look()


def test_a_key_that_is_not_for_signing_is_refused(kms: FakeKms) -> None:
    kms.usage = "KEY_AGREEMENT"
    with pytest.raises(KeyProblem, match="for KEY_AGREEMENT"):
        key_of(kms).look()
    with pytest.raises(KeyProblem, match="not one that signs"):
        key_of(kms).sign(DIGEST)


def test_the_answer_of_another_key_is_refused(kms: FakeKms) -> None:
    kms.change = lambda operation, answer: {**answer, "KeyId": arn_of("another")}
    with pytest.raises(KeyProblem, match="it is another key's"):
        key_of(kms).look()


@pytest.mark.parametrize("operation", ["look", "sign"])
@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"3", b"{", b"<html>AKIAFAKEFAKEFAKEFAKE</html>", b'{"Signature": 3, "PublicKey": 3}', b"{}", b"null"],
)
def test_an_answer_that_is_none_is_a_problem_of_the_key(kms: FakeKms, operation: str, answer: bytes) -> None:
    kms.change = lambda asked, good: answer
    with pytest.raises(KeyProblem) as refused:
        _act(key_of(kms), operation)
    assert not isinstance(refused.value, KeyUnreachable)
    assert not any(secret in everything_said(refused.value) for secret in SECRETS)


@pytest.mark.parametrize("value", ["not base64!", "abc"])
def test_a_signature_that_can_not_be_decoded_is_a_problem_of_the_key(kms: FakeKms, value: str) -> None:
    kms.change = lambda operation, answer: {**answer, "Signature": value}
    with pytest.raises(KeyProblem):
        key_of(kms).sign(DIGEST)


def test_an_answer_without_an_arn_is_refused(kms: FakeKms) -> None:
    kms.change = lambda operation, answer: {**answer, "KeyId": kms.alias}
    with pytest.raises(KeyProblem, match="its ARN is missing"):
        key_of(kms, kms.alias).look()


# ------------------------------------------------------------------------------------------------------------- refusals


def _act(key: KmsKey, operation: str) -> object:
    return key.look() if operation == "look" else key.sign(DIGEST)


@pytest.mark.parametrize("operation", ["look", "sign"])
@pytest.mark.parametrize(
    ("refusal", "said", "mend"),
    [
        (DENIED, "lets nobody with these credentials", "kms:GetPublicKey and kms:Sign"),
        (DISABLED, "is disabled", "enable it"),
        ((400, "KMSInvalidStateException"), "in the state it has", "deleted"),
        ((400, "NotFoundException"), "no key", "region"),
        ((400, "InvalidKeyUsageException"), "not one that signs", "ECC_SECG_P256K1"),
        ((400, "UnsupportedOperationException"), "not one that signs", "SIGN_VERIFY"),
        ((400, "ExpiredTokenException"), "does not take the credentials", "a role of the machine"),
        ((400, "UnrecognizedClientException"), "does not take the credentials", "a role of the machine"),
        ((400, "ValidationException"), "refused the use of the key .*: ValidationException", ""),
        ((400, "com.amazon.coral#DisabledException"), "is disabled", "enable it"),
        ((403, "Weird code\x1b[31m"), "an unknown error", ""),
    ],
)
def test_a_refusal_says_what_mends_it_and_is_not_tried_again(
    kms: FakeKms, operation: str, refusal: Refusal, said: str, mend: str
) -> None:
    kms.refuse = lambda asked: refusal
    with pytest.raises(KeyProblem, match=said) as refused:
        _act(key_of(kms), operation)
    assert mend in refused.value.mend
    assert not isinstance(refused.value, KeyUnreachable)
    assert len(kms.calls) == 1
    assert not any(secret in everything_said(refused.value) for secret in SECRETS)


@pytest.mark.parametrize("refusal", [THROTTLED, BROKEN, (503, "ServiceUnavailable"), (429, "SlowDown")])
def test_who_is_busy_is_asked_three_times_and_no_more(kms: FakeKms, refusal: Refusal) -> None:
    kms.refuse = lambda asked: refusal
    with pytest.raises(KeyUnreachable, match=f"AWS KMS says {refusal[1]}") as refused:
        key_of(kms).sign(DIGEST)
    assert kms.calls == ["Sign"] * 3
    assert (refused.value.key, refused.value.code) == (kms.arn, "key_problem")
    assert not any(secret in everything_said(refused.value) for secret in SECRETS)


def test_a_short_trouble_is_not_noticed(kms: FakeKms) -> None:
    kms.refuse_times(2, THROTTLED)
    assert key_of(kms).sign(DIGEST)
    assert kms.calls == ["Sign"] * 3


def test_who_is_slow_is_not_waited_for_without_end(kms: FakeKms) -> None:
    kms.slow_seconds = 60
    before = time.monotonic()
    with pytest.raises(KeyUnreachable, match="AWS gives no answer"):
        key_of(kms, answer_seconds=0.2).sign(DIGEST)
    assert time.monotonic() - before < 10
    assert len(kms.calls) == 3


def test_the_longest_wait_is_shorter_than_a_senders_lease() -> None:
    pauses = sum(2**each for each in range(kms_module.TRIES - 1))
    assert kms_module.TRIES * (kms_module.CONNECT_SECONDS + kms_module.ANSWER_SECONDS) + pauses < LEASE_SECONDS / 2


def test_who_hangs_up_is_away(kms: FakeKms) -> None:
    kms.hang_up = True
    with pytest.raises(KeyUnreachable, match="AWS gives no answer"):
        key_of(kms).look()
    assert len(kms.calls) == 3


def test_nobody_there_is_away(monkeypatch: MonkeyPatch) -> None:
    set_credentials(monkeypatch)
    with FakeKms() as kms:
        key = key_of(kms)
    with pytest.raises(KeyUnreachable, match="AWS gives no answer") as refused:
        key.look()
    assert "nothing is lost" in refused.value.mend


# ---------------------------------------------------------------------------------------------------------- credentials


def test_without_credentials_nothing_is_asked(kms: FakeKms, monkeypatch: MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(KeyProblem, match="there are no AWS credentials") as refused:
        key_of(kms).look()
    assert "a profile" in refused.value.mend
    assert kms.calls == []


def test_half_of_the_credentials_are_none(kms: FakeKms, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeyProblem, match="there are no AWS credentials") as refused:
        key_of(kms)
    assert not any(secret in everything_said(refused.value) for secret in SECRETS)


def test_a_profile_that_is_not_there_is_said(kms: FakeKms, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "till")
    with pytest.raises(KeyProblem, match="there are no AWS credentials"):
        key_of(kms)


def test_a_region_nobody_knows_is_asked_for(kms: FakeKms) -> None:
    with pytest.raises(KeyProblem, match="region is not known") as refused:
        KmsKey(KmsReference(kms.key_id, endpoint=kms.url))
    assert "--region" in refused.value.mend


def test_the_region_may_come_from_the_environment(kms: FakeKms, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert KmsKey(KmsReference(kms.key_id, endpoint=kms.url)).look().reference.region == REGION


def test_nothing_of_ours_shows_or_logs_the_credentials(kms: FakeKms, caplog: LogCaptureFixture) -> None:
    key = key_of(kms)
    with caplog.at_level(logging.INFO):
        key.look()
        key.sign(DIGEST)
    shown = repr(key) + str(key) + caplog.text
    assert not any(secret in shown for secret in SECRETS)


# ---------------------------------------------------------------------------------------------------------------- boto3


@pytest.mark.parametrize("missing", ["boto3", "botocore.config"])
def test_without_the_extra_its_name_is_said(monkeypatch: MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(KeyProblem, match="the package boto3, which is not installed") as refused:
        KmsKey(KmsReference(arn_of("1234")))
    assert refused.value.mend == "install it with `pip install 'nftloyalty[kms]'`"


@pytest.mark.parametrize(
    "does",
    [
        "import nftloyalty.cli.main",
        "import nftloyalty.web.app",
        "from pathlib import Path; from nftloyalty.vault.keystore import Keystore;"
        " from nftloyalty.vault.kms import KmsReference; keys = Keystore(Path(sys.argv[1]));"
        f" keys.add_kms('hot', KmsReference({arn_of('1234')!r}), {ADDRESS!r}); keys.address('hot'); keys.kms('hot')",
    ],
    ids=["commands", "server", "keystore"],
)
def test_boto3_is_not_imported_before_a_key_is_used(tmp_path: Path, does: str) -> None:
    program = (
        f"import sys; {does}; print([name for name in sys.modules if name.split('.')[0] in ('boto3', 'botocore')])"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "keys")]
    assert subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip() == "[]"
