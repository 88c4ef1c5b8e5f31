"""Who writes the narratives of a run: a language model where one is set, else the template.

The only place that reads the key. It is handed to the endpoint's client and to nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from rotation_pipeline.narratives.draft import Writer
from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.settings import KEY_VARIABLES, SettingsError
from rotation_pipeline.warehouse.drafts import StoredDrafts
from rotation_pipeline.warehouse.store import Warehouse


def api_key() -> str | None:
    """The key from the environment; None without. Raises SettingsError, not repeating it, for one no request can carry."""
    for variable in KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if not key:
            continue
        if not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsError(f"environment variable {variable} holds characters that no request can carry")
        return key
    return None


@contextmanager
def narrative_writer(options: LlmOptions, warehouse: Warehouse, *, offline: bool) -> Generator[Writer | None]:
    """The writer of a run, None for the template; ``offline``: one that reads the cache and asks nobody."""
    if options.model is None or (options.base_url is None and not offline):
        yield None
        return
    from rotation_pipeline.narratives.endpoint import ChatEndpoint
    from rotation_pipeline.narratives.llm import LlmWriter

    endpoint = None if offline else ChatEndpoint(options, api_key(), time.monotonic)
    try:
        yield LlmWriter(options, endpoint, StoredDrafts(warehouse), clock=time.monotonic, sleep=time.sleep)
    finally:
        if endpoint is not None:
            endpoint.close()
