"""A web server on this machine that answers as a test wants, and remembers what it was sent."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = (IPv4Network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Got:
    """One request, its headers by their names in lower case. `peer` is the port it came from, the same for all that
    came by one connection."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: int = 0


Answering = Callable[["Handler", Got], None]
"""Writes whatever it likes to the handler's `wfile`."""


def says(status: int, **headers: str) -> Answering:
    """Answers this status with no body."""

    def answer(handler: "Handler", got: Got) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server: "_Server"

    def do_POST(self) -> None:
        got = Got(
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            int(self.client_address[1]),
        )
        with self.server.receiver.lock:
            self.server.receiver.got.append(got)
        try:
            self.server.receiver.answer(self, got)
        except OSError:
            # Who asked has had enough.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: "Receiver"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@dataclass
class Receiver:
    """`answer` may be changed at any time; `got` is everything that came, in the order in which it came. It listens at
    `host` and, if it is given, at this port."""

    answer: Answering = field(default_factory=lambda: says(204))
    context: ssl.SSLContext | None = None
    got: list[Got] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    host: str = "127.0.0.1"
    at_port: int = 0

    def __enter__(self) -> "Receiver":
        self._server = _Server((self.host, self.at_port), Handler)
        self._server.receiver = self
        if self.context is not None:
            self._server.socket = self.context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hooks"


def free_port() -> int:
    """One at which nobody listens, most likely."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Authority:
    """A throw-away authority for certificates. `trust` believes in it and in no other."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(
            cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        )

    def server(self, folder_file: Callable[[str, bytes], str], *names: str | IPv4Address) -> ssl.SSLContext:
        """What a server with a certificate for these names speaks TLS with. `folder_file` writes a file somewhere."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
        certificate = (
            _certificate("server", "authority", key.public_key())
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            folder_file("certificate", certificate.public_bytes(serialization.Encoding.PEM)),
            folder_file(
                "key",
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
            ),
        )
        return context


def new_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        _certificate("authority", "authority", key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _certificate(of: str, by: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, of)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
