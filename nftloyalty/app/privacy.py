"""Which of our files others on this machine can read."""

import stat
import sys
from pathlib import Path

from nftloyalty.app.context import App


def loose_files(app: App) -> list[Path]:
    """The folders of home and keys, the embedded database, the password and seal files, as far as others may read or
    change them.

    What we make ourselves is private; these were there before, or were opened up since.
    """
    if sys.platform == "win32":
        return []
    found = [app.settings.home, app.keystore.folder, app.settings.seal_key_file]
    if app.engine.dialect.name == "sqlite":
        found.append(Path(str(app.engine.url.database)))
    if app.settings.password_file is not None:
        found.append(app.settings.password_file)
    return [path for path in found if _is_loose(path)]


def _is_loose(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    # A pipe (`--password-file <(...)`) is nobody else's.
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO)) and (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
