"""Keys that never leave AWS KMS: their address, and signatures of digests.

boto3 is the extra `kms` and is imported when a key is used, not before. AWS credentials are found the way boto3 finds
them (environment, profile, role of the machine); none is read, kept or shown here.

Needs the permissions kms:GetPublicKey and kms:Sign on the key, and nothing else.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from eth_keys.constants import SECPK1_P
from eth_keys.datatypes import PublicKey

from nftloyalty.domain.address import Address
from nftloyalty.errors import KeyProblem, KeyUnreachable

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
TRIES = 3
"""In all 3 * (3 + 5) seconds and pauses of at most 1 and 2: well below what a sender's lease lasts."""

CURVE = "ECC_SECG_P256K1"
ALGORITHM = "ECDSA_SHA_256"
USAGE = "SIGN_VERIFY"

# SubjectPublicKeyInfo (RFC 5480) of a secp256k1 key: all that stands before the two coordinates. DER has one way only
# to write it: SEQUENCE { SEQUENCE { OID ecPublicKey, OID secp256k1 }, BIT STRING { 04 x y } }.
_BEFORE_POINT = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004")

_ARN = re.compile(r"arn:aws[a-z-]{0,30}:kms:([a-z0-9-]{1,40}):[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,256}")
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,128}|alias/[A-Za-z0-9/_-]{1,250}")
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){1,6}")
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

# Codes by which AWS says that it can't now; every status of 500 and more and 429 says so too.
_NOT_NOW = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
# Codes about who asks, not about the key.
_WHO_ASKS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
# What is wrong with the key, and what mends it.
_REFUSALS: Mapping[str, tuple[str, str]] = {
    "AccessDeniedException": (
        "AWS KMS lets nobody with these credentials use the key {key}",
        "allow kms:GetPublicKey and kms:Sign on it, in the key's policy or by IAM",
    ),
    "DisabledException": ("the key {key} is disabled in AWS KMS", "enable it there"),
    "KMSInvalidStateException": (
        "the key {key} can't be used in the state it has in AWS KMS",
        "look whether it waits to be deleted: until then that can be cancelled",
    ),
    "NotFoundException": ("AWS KMS has no key {key} in this region", "check the key's ARN and the region"),
}
_NO_SIGNING_KEY = frozenset({"InvalidKeyUsageException", "UnsupportedOperationException"})

_CREDENTIALS_MEND = "give this process AWS credentials: a role of the machine, a profile, or the AWS_ variables"
_KIND_MEND = f"make a key of the spec {CURVE} for {USAGE}"


class Client(Protocol):
    """What is used of boto3's KMS client, which has no types."""

    def get_public_key(self, *, KeyId: str) -> Mapping[str, Any]: ...  # noqa: N803 (boto3's names)

    def sign(
        self,
        *,
        KeyId: str,  # noqa: N803
        Message: bytes,  # noqa: N803
        MessageType: str,  # noqa: N803
        SigningAlgorithm: str,  # noqa: N803
    ) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class KmsReference:
    """Where a key lies in AWS KMS. `region` "" = what boto3's own configuration says; `endpoint` "" = AWS itself.

    Raises KeyProblem for what can be no key, region or endpoint. Plain HTTP is for this machine only: whoever stands in
    between could answer with a public key of their own when a key is added.
    """

    key_id: str
    region: str = ""
    endpoint: str = ""

    def __post_init__(self) -> None:
        arn = _ARN.fullmatch(self.key_id)
        if arn is None and not _KEY_ID.fullmatch(self.key_id):
            raise KeyProblem(
                f"{self.key_id!r} is not the name of a key in AWS KMS", mend="give its ARN, its id or alias/<its alias>"
            )
        if self.region and not _REGION.fullmatch(self.region):
            raise KeyProblem(f"{self.region!r} is not an AWS region", mend="write it like eu-central-1")
        if arn is not None and self.region not in ("", arn[1]):
            raise KeyProblem(
                f"the key is in {arn[1]}, not in {self.region}", mend="leave the region out: the ARN names it"
            )
        if self.endpoint and not _is_safe(self.endpoint):
            raise KeyProblem(
                "the endpoint is not an https:// address",
                mend="plain http:// is taken on this machine only, and no name or password in the address",
            )

    @property
    def is_exact(self) -> bool:
        """Whether it names one key for good. An alias can be given to another key, an id is one of some account."""
        arn = _ARN.fullmatch(self.key_id)
        return arn is not None and arn[2] == "key"

    @property
    def found_region(self) -> str:
        """The ARN's region, else the one given."""
        arn = _ARN.fullmatch(self.key_id)
        return arn[1] if arn is not None else self.region


@dataclass(frozen=True, slots=True)
class Found:
    """What KMS says of a key: its address, and the reference by its ARN."""

    address: Address
    reference: KmsReference


class KmsKey:
    """One key in AWS KMS. May be used by several threads.

    Every method raises KeyUnreachable if KMS does not answer or is too busy, after `TRIES` tries within bounded time,
    and KeyProblem if it refuses.
    """

    __slots__ = ("_client", "reference")

    def __init__(
        self,
        reference: KmsReference,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Asks nothing of KMS yet. Raises KeyProblem if boto3 is missing or can't be set up."""
        self.reference = reference
        self._client = _client(reference, connect_seconds, answer_seconds)

    def look(self) -> Found:
        """Ask for the public key. Raises KeyProblem also if it is no secp256k1 key that may sign."""
        answer = self._asked(lambda: self._client.get_public_key(KeyId=self.reference.key_id))
        spec, usage = answer.get("KeySpec"), answer.get("KeyUsage")
        if spec != CURVE or usage != USAGE or ALGORITHM not in answer.get("SigningAlgorithms", ()):
            raise KeyProblem(
                f"the key {self._name} is of the spec {_word(spec)} for {_word(usage)}, which signs for no wallet",
                mend=_KIND_MEND,
            )
        try:
            return Found(address_of(_bytes(answer, "PublicKey")), self._exact(answer.get("KeyId")))
        except ValueError as wrong:
            raise KeyProblem(f"AWS KMS did not answer with the public key of {self._name}: {wrong}") from None

    def sign(self, digest: bytes) -> bytes:
        """A signature of a 32-byte digest, in DER as KMS made it: each time another one, about half with a high s."""
        answer = self._asked(
            lambda: self._client.sign(
                KeyId=self.reference.key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm=ALGORITHM
            )
        )
        try:
            return _bytes(answer, "Signature")
        except ValueError as wrong:
            raise KeyProblem(f"AWS KMS did not answer with a signature of {self._name}: {wrong}") from None

    @property
    def _name(self) -> str:
        return self.reference.key_id

    def _exact(self, arn: object) -> KmsReference:
        """The reference by the ARN that KMS answered. Raises ValueError if that is none, or another key's."""
        found = _ARN.fullmatch(arn) if isinstance(arn, str) else None
        if found is None or found[2] != "key":
            raise ValueError("its ARN is missing")
        if self.reference.is_exact and found[0] != self.reference.key_id:
            raise ValueError("it is another key's")
        return KmsReference(found[0], found[1], self.reference.endpoint)

    def _asked(self, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return ask()
        except Exception as failure:
            # All of them: what boto3 raises over an answer that is no KMS answer is written nowhere.
            problem = _translated(failure, self._name)
        # Out here, so that the error does not carry boto3's along: that one may tell who asked, and from where.
        raise problem

    def __repr__(self) -> str:
        return f"KmsKey({self._name})"


def address_of(public_key: bytes) -> Address:
    """The address of a public key in SubjectPublicKeyInfo DER. Raises ValueError if it is no secp256k1 key."""
    point = public_key.removeprefix(_BEFORE_POINT)
    if len(point) != 64 or len(public_key) != len(_BEFORE_POINT) + 64:
        raise ValueError("it is not a secp256k1 public key")
    x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    if not (x < SECPK1_P and y < SECPK1_P and (y * y - x * x * x - 7) % SECPK1_P == 0):
        raise ValueError("the point is not on the curve")
    return PublicKey(point).to_checksum_address()


def _client(reference: KmsReference, connect_seconds: float, answer_seconds: float) -> Client:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise KeyProblem(
            "keys in AWS KMS need the package boto3, which is not installed",
            mend="install it with `pip install 'nftloyalty[kms]'`",
        ) from None
    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=answer_seconds,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        user_agent_extra="nftloyalty",
    )
    try:
        # A session of its own: boto3's shared one is not for several threads.
        return cast(
            Client,
            boto3.session.Session().client(
                "kms",
                region_name=reference.found_region or None,
                endpoint_url=reference.endpoint or None,
                config=config,
            ),
        )
    except Exception as failure:
        problem = _translated(failure, reference.key_id)
    raise problem


def _translated(failure: Exception, key: str) -> KeyProblem:
    """Ours for what boto3 raised. Of its words none is repeated: they name accounts, roles, files and hosts."""
    from botocore import exceptions

    if isinstance(failure, exceptions.ClientError):
        return _refused(failure.response, key)
    name = type(failure).__name__
    if isinstance(failure, exceptions.NoRegionError):
        return KeyProblem("the key's AWS region is not known", mend="give --region, or the key's whole ARN")
    # Who lends the credentials may be away for a while, as KMS itself may.
    away = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.CredentialRetrievalError,
        exceptions.MetadataRetrievalError,
    )
    if isinstance(failure, away):
        return KeyUnreachable(key, f"AWS gives no answer ({name})")
    credentials = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
        exceptions.NoAuthTokenError,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
    )
    if isinstance(failure, credentials):
        return KeyProblem(f"there are no AWS credentials that could use the key {key} ({name})", mend=_CREDENTIALS_MEND)
    return KeyProblem(
        f"AWS KMS can't be asked about the key {key} ({name})",
        mend="check the endpoint and the AWS configuration of this machine",
    )


def _refused(response: Mapping[str, Any], key: str) -> KeyProblem:
    code = str(response.get("Error", {}).get("Code", ""))
    # An exception of another service's namespace, or a query error, may carry a prefix or a suffix.
    code = code.rpartition("#")[2].partition(":")[0]
    shown = code if _CODE.fullmatch(code) else "an unknown error"
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NOT_NOW or status == 429 or status >= 500:
        return KeyUnreachable(key, f"AWS KMS says {shown}")
    if code in _WHO_ASKS:
        return KeyProblem(f"AWS does not take the credentials of this process ({shown})", mend=_CREDENTIALS_MEND)
    if code in _NO_SIGNING_KEY:
        return KeyProblem(f"the key {key} is not one that signs ({shown})", mend=_KIND_MEND)
    if code in _REFUSALS:
        what, mend = _REFUSALS[code]
        return KeyProblem(what.format(key=key), mend=mend)
    return KeyProblem(f"AWS KMS refused the use of the key {key}: {shown}")


def _bytes(answer: Mapping[str, Any], name: str) -> bytes:
    value = answer.get(name)
    if not isinstance(value, bytes):
        raise ValueError(f"{name} is missing")
    return value


def _word(value: object) -> str:
    """A name out of an answer, as far as it is fit to be shown."""
    return value if isinstance(value, str) and re.fullmatch(r"\w{1,40}", value) else "unknown"


def _is_safe(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        if not parts.hostname or parts.port == 0 or parts.username is not None or parts.query or parts.fragment:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        return False
