"""Keeps keys at rest."""
