"""Talks to the chain: client, contracts, signing, receipts. Knows no database."""
