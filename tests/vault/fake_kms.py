"""A server that speaks as much of the AWS KMS protocol as signing needs, and misbehaves when a test tells it to.

It signs as KMS does: another signature of the same digest each time, in DER, and s is high in every other answer.
"""

import base64
import json
import os
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey
from pytest import MonkeyPatch

REGION = "eu-central-1"
ACCOUNT = "111122223333"
KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"

# What no error and no log line of ours may repeat.
ACCESS_KEY = "AKIAFAKEFAKEFAKEFAKE"
SECRET_KEY = "fake+secret/of+no+account0123456789"
SESSION_TOKEN = "fake-session-token-of-nobody"

# openssl ecparam -name prime256v1 -genkey | openssl ec -pubout -outform DER
OF_ANOTHER_CURVE = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d0301070342000450e5435eb97cb79417d83a8190a94e4c223603812b8018ea9b539d0d0d80"
    "89958e1cab0049b37401bbe361cd92f9294ec36d318523da1a06615cadd15d237c3a"
)

Refusal = tuple[int, str]
"""HTTP status and the code that the answer names."""

DENIED: Refusal = (400, "AccessDeniedException")
DISABLED: Refusal = (400, "DisabledException")
THROTTLED: Refusal = (400, "ThrottlingException")
BROKEN: Refusal = (500, "KMSInternalException")


def set_credentials(monkeypatch: MonkeyPatch) -> None:
    """Made-up credentials in this test's environment, and nothing of this machine's own AWS configuration."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def arn_of(key_id: str) -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"


class FakeKms:
    """For `with`. Knows one key by its id, its ARN and the alias `alias/minter`.

    `calls` are the operations asked for so far. `refuse` is asked with each and may name a refusal, `slow_seconds` is
    the pause before each answer, `change` makes another answer of the good one.
    """

    def __init__(self, key: bytes = KEY, key_id: str = "1234abcd-12ab-34cd-56ef-1234567890ab") -> None:
        self.key = key
        self.key_id = key_id
        self.arn = arn_of(key_id)
        self.alias = "alias/minter"
        self.calls: list[str] = []
        self.signed: list[tuple[bytes, bytes]] = []
        self.refuse: Callable[[str], Refusal | None] = lambda operation: None
        self.change: Callable[[str, dict[str, Any]], Any] = lambda operation, answer: answer
        self.slow_seconds = 0.0
        self.hang_up = False
        self.spec = "ECC_SECG_P256K1"
        self.usage = "SIGN_VERIFY"
        self._public_key: bytes | None = None
        self._high = False
        self._lock = threading.Lock()
        self._ending = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    fake._answer(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def give_another_curve(self) -> None:
        """From now on the key is a P-256 one, though it is asked for by the same id."""
        self.spec = "ECC_NIST_P256"
        self._public_key = OF_ANOTHER_CURVE

    def refuse_times(self, times: int, refusal: Refusal) -> None:
        """Refuse that many requests from now on, then answer."""
        until = len(self.calls) + times
        self.refuse = lambda operation: refusal if len(self.calls) <= until else None

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        operation = handler.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        with self._lock:
            self.calls.append(operation)
        self._ending.wait(self.slow_seconds)
        if self.hang_up:
            handler.close_connection = True
            return
        signed_by = handler.headers.get("Authorization", "")
        refusal = self.refuse(operation)
        if not signed_by.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/"):
            refusal = (400, "UnrecognizedClientException")
        elif f"/{REGION}/kms/aws4_request" not in signed_by:
            refusal = (400, "InvalidSignatureException")
        if refusal is not None:
            _send(handler, refusal[0], _error(refusal[1]))
            return
        status, answer = self._do(operation, json.loads(body))
        _send(handler, status, self.change(operation, answer) if status == 200 else answer)

    def _do(self, operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if request.get("KeyId") not in (self.key_id, self.arn, self.alias):
            return 400, _error("NotFoundException")
        if operation == "GetPublicKey":
            return 200, {
                "KeyId": self.arn,
                "PublicKey": _base64(self._public_key or spki(self.key)),
                "KeySpec": self.spec,
                "CustomerMasterKeySpec": self.spec,
                "KeyUsage": self.usage,
                "SigningAlgorithms": ["ECDSA_SHA_256"] if self.usage == "SIGN_VERIFY" else [],
            }
        if operation == "Sign":
            return self._sign(request)
        return 400, _error("UnknownOperationException")

    def _sign(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        digest = base64.b64decode(request["Message"])
        if request["SigningAlgorithm"] != "ECDSA_SHA_256" or self.usage != "SIGN_VERIFY":
            return 400, _error("InvalidKeyUsageException")
        if request.get("MessageType") != "DIGEST" or len(digest) != 32:
            # KMS would hash a RAW message itself.
            return 400, _error("ValidationException")
        with self._lock:
            self._high = not self._high
            signature = sign(self.key, digest, high=self._high)
            self.signed.append((digest, signature))
        return 200, {"KeyId": self.arn, "Signature": _base64(signature), "SigningAlgorithm": "ECDSA_SHA_256"}


def sign(key: bytes, digest: bytes, *, high: bool) -> bytes:
    """A signature in DER with a random nonce (SEC 1, 4.1.3), s in the half that is asked for."""
    nonce = secrets.randbelow(SECPK1_N - 1) + 1
    r = int.from_bytes(_point(nonce.to_bytes(32, "big"))[:32], "big") % SECPK1_N
    z = int.from_bytes(digest, "big")
    s = pow(nonce, -1, SECPK1_N) * (z + r * int.from_bytes(key, "big")) % SECPK1_N
    if (s > SECPK1_N // 2) is not high:
        s = SECPK1_N - s
    return der(r, s)


def der(r: int, s: int) -> bytes:
    content = b"".join(_number(each) for each in (r, s))
    return bytes([0x30, len(content)]) + content


def spki(key: bytes) -> bytes:
    """The key's public half as SubjectPublicKeyInfo, put together from its parts."""
    kind = _wrapped(0x30, _wrapped(0x06, bytes.fromhex("2a8648ce3d0201")) + _wrapped(0x06, bytes.fromhex("2b8104000a")))
    return _wrapped(0x30, kind + _wrapped(0x03, b"\x00\x04" + _point(key)))


def _point(key: bytes) -> bytes:
    return PrivateKey(key).public_key.to_bytes()


def _number(value: int) -> bytes:
    return _wrapped(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _wrapped(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _error(code: str) -> dict[str, Any]:
    # KMS names accounts and roles in its messages.
    return {"__type": code, "message": f"User: arn:aws:sts::{ACCOUNT}:assumed-role/till/session is told {code}"}


def _send(handler: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/x-amz-json-1.1")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
