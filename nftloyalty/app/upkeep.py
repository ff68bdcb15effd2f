"""Upkeep of the database."""

from nftloyalty.app.context import make_home
from nftloyalty.config import Settings
from nftloyalty.store.engine import open_engine, upgrade


def upgrade_database(settings: Settings) -> None:
    """Bring the schema to this version. Stop the processes of other versions first; twice is harmless."""
    make_home(settings)
    engine = open_engine(settings.database_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
