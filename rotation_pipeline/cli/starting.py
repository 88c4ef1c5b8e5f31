"""`rotation init-files`: a CSV of prices becomes a folder the files source reads, with the settings to run on it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotation_pipeline.cli.terminal import JsonOption, app, err, out, rich_table

if TYPE_CHECKING:
    from rotation_pipeline.sources.prices import PriceFolder

MADE_INDEX = "999999.SH"
"""Identifier of an index that is made of the securities themselves; no exchange uses it."""
A_WHILE = 0.2
"""GB of prices from which on it is said how long they take."""


@app.command("init-files")
def init_files(
    prices: Annotated[Path, typer.Argument(help="CSV of daily prices, a row per security and day.")],
    folder: Annotated[Path, typer.Option("--to", help="Folder to write; must not hold anything yet.")] = Path("mine"),
    index: Annotated[
        Path | None, typer.Option("--index", help="CSV of the benchmark index (date, close); without it one is made.")
    ] = None,
    index_id: Annotated[str, typer.Option("--index-id", help="Identifier of the index, as 000300.SH.")] = MADE_INDEX,
    adjusted: Annotated[
        bool, typer.Option("--adjusted", help="Dividends and splits are in the prices already.")
    ] = False,
    lots: Annotated[bool, typer.Option("--lots", help="Volume is in lots of 100 shares.")] = False,
    thousands: Annotated[bool, typer.Option("--thousands", help="Amount is in thousand CNY.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a folder to run on from a CSV of prices. Example: rotation init-files prices.csv --to mine"""
    from rotation_pipeline.factors.options import FactorOptions
    from rotation_pipeline.settings import SettingsError
    from rotation_pipeline.sources.price_csv import read_index
    from rotation_pipeline.sources.price_folder import is_free, write_price_folder

    if not is_free(folder):
        raise SettingsError(f"--to {folder} exists and is not empty; choose another folder, nothing is overwritten")
    for path in (prices, index):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path} is no file")
    levels = None if index is None else read_index(index)
    fewest = FactorOptions().min_names
    size = prices.stat().st_size / 1e9
    if size > A_WHILE and not as_json:
        err.print(
            f"reading {prices}: {size:.1f} GB, about half a minute a GB", highlight=False, markup=False, soft_wrap=True
        )
    made = write_price_folder(
        prices, folder, levels, index_id, adjusted=adjusted, lots=lots, thousands=thousands, fewest=fewest
    )
    config = folder / "rotation.toml"
    config.write_text(settings_text(folder, index_id, made, is_made=index is None), encoding="utf-8")
    command = f"ROTATION_CONFIG={shlex.quote(str(config))} rotation run"
    if as_json:
        facts = {
            "folder": str(folder),
            "tables": made.rows,
            "styles": list(made.styles),
            "absent": made.absent,
            "sample": [f"{made.first:%Y-%m}", f"{made.last:%Y-%m}"],
            "notes": made.notes,
            "run": command,
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return
    _print(folder, made, command)


def _print(folder: Path, made: PriceFolder, command: str) -> None:
    """What was written, what was assumed, and what to do next."""
    out.print(f"written to {folder}", highlight=False, markup=False, soft_wrap=True)
    out.print(rich_table([{"table": name, "rows": rows} for name, rows in made.rows.items()]))

    def tell(text: str) -> None:  # wrapped between words on a terminal, whole lines in a pipe
        out.print(text, highlight=False, markup=False, soft_wrap=not out.is_terminal)

    tell("what was assumed:")
    for note in made.notes:
        tell(f"- {note}")
    tell(f"styles with figures: {', '.join(made.styles)}")
    for style, needs in made.absent.items():
        tell(f"- without: {style}, which needs {needs}")
    if made.absent:
        tell(
            f"The weight of {'these' if len(made.absent) > 1 else 'this one'} lies idle in every book, equal weight included: compare "
            "Sharpe ratios and differences, not levels."
        )
    tell(f"results from {made.first:%Y-%m} to {made.last:%Y-%m}. Now:")
    out.print(command, highlight=False, markup=False, soft_wrap=True)


def settings_text(folder: Path, index_id: str, made: PriceFolder, *, is_made: bool) -> str:
    """The settings file of a folder made from prices."""
    named = ("样本等权指数", "the equal-weighted index") if is_made else (f"指数{index_id}", f"the index {index_id}")
    return f"""# made by `rotation init-files`; every line may be changed
[source]
name = "files"
path = {json.dumps(str(folder), ensure_ascii=False)}

[sample]
start = "{made.first:%Y-%m}"
end = "{made.last:%Y-%m}"
history_months = {made.history_months}           # market data before the first result
style_history_months = {made.style_history_months}

[universe]
index_id = "{index_id}"
members = {made.members}

[narratives]
index_name_zh = "{named[0]}"
index_name_en = "{named[1]}"
"""
