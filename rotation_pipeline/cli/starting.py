"""`rotation init-files`: a CSV of prices becomes a folder the files source reads, with the settings to run on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rotation_pipeline.cli.terminal import JsonOption, app, out

if TYPE_CHECKING:
    from rotation_pipeline.sources.prices import PriceFolder

MADE_INDEX = "999999.SH"
"""Identifier of an index that is made of the securities themselves; no exchange uses it."""


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
    from rotation_pipeline.sources.price_folder import write_price_folder

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"--to {folder} exists and is not empty; choose another folder, nothing is overwritten")
    for path in (prices, index):
        if path is not None and not path.is_file():
            raise SettingsError(f"{path} is no file")
    levels = None if index is None else read_index(index)
    fewest = FactorOptions().min_names
    made = write_price_folder(
        prices, folder, levels, index_id, adjusted=adjusted, lots=lots, thousands=thousands, fewest=fewest
    )
    config = folder / "rotation.toml"
    config.write_text(settings_text(folder, index_id, made, is_made=index is None), encoding="utf-8")
    command = f"ROTATION_CONFIG={config} rotation run"
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
    out.print(f"{folder}: {', '.join(f'{name} {rows:,}' for name, rows in made.rows.items())}", highlight=False, soft_wrap=True)  # fmt: skip
    for note in made.notes:
        out.print(f"- {note}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"styles with figures: {', '.join(made.styles)}", highlight=False, soft_wrap=True)
    for style, needs in made.absent.items():
        out.print(f"  without: {style}, which needs {needs}", highlight=False, markup=False, soft_wrap=True)
    if made.absent:
        out.print(
            f"The weight of the {len(made.absent)} others lies idle in every book, equal weight included: compare Sharpe ratios and "
            "differences, not levels.",
            highlight=False,
            soft_wrap=True,
        )
    out.print(f"results from {made.first:%Y-%m} to {made.last:%Y-%m}. Now:\n{command}", highlight=False, soft_wrap=True)


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
