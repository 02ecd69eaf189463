"""Own the schema of a PostgreSQL database: models, history, and the commands between them."""

from typing import Final

__version__: Final = "0.1.0"
