"""Keccak-256 of bytes, by C code where there is some: what eth-hash chooses by itself takes seven times as long."""

from collections.abc import Callable

from eth_hash.auto import keccak as any_keccak

keccak: Callable[[bytes], bytes]
try:
    from eth_hash.backends.pysha3 import backend
except ImportError:
    keccak = any_keccak
else:
    keccak = backend.keccak256
