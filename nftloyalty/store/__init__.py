"""Rows: SQLAlchemy Core tables, and functions that take the open transaction first.

Nothing here commits, reads a clock, draws a random number or calls the network. Times and ids are arguments; rows come
back as frozen dataclasses. Every change of a state is an UPDATE guarded by the state it leaves.
"""
