"""`rotation …`: the graph without a server.

Exit codes: 0 done; 1 a check failed or the data were refused; 2 wrong usage or settings; 3 the database is held by
another process; 130 interrupted.
"""

from __future__ import annotations

from rotation_pipeline.cli import computing, looking, proving, reconciling, starting
from rotation_pipeline.cli.terminal import app, fail

__all__ = ["app", "computing", "looking", "main", "proving", "reconciling", "starting"]
INTERRUPTED = 130


def main() -> None:
    """Entry point: errors become one readable line and an exit code."""
    from rotation_pipeline.narratives.explain import NoNarrative
    from rotation_pipeline.settings import SettingsError
    from rotation_pipeline.warehouse.errors import DatabaseLocked, WarehouseError

    try:
        app()
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
            fail("interrupted; every month is either as it was or complete. Run the same command to go on", INTERRUPTED)
        raise
    except SettingsError as error:
        fail(f"settings: {error}", 2)
    except DatabaseLocked as error:
        fail(str(error), 3)
    except (WarehouseError, NoNarrative, ValueError, OSError) as error:
        fail(str(error), 1)
