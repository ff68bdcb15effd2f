"""Upkeep of the database."""

from nftloyalty.config import Settings
from nftloyalty.store.engine import open_engine, upgrade


def upgrade_database(settings: Settings) -> None:
    """Bring the schema to this version. Stop the processes of other versions first; twice is harmless."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = open_engine(settings.database_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
