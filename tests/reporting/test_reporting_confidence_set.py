"""The model confidence set in the table of forecast scores."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import reporting_frames

from rotation_pipeline.reporting.sheets import forecast_scores
from rotation_pipeline.reporting.words import LANGUAGES, Words

DATA = reporting_frames.build(24)


def rows() -> pd.DataFrame:
    """Every combination has a p of its own, so that a wrong one would show."""
    months = (DATA.month - pd.DateOffset(months=1), DATA.month)
    keys = [
        (month, loss, statistic, expert)
        for month in months
        for loss in ("squared_error", "relative_squared_error")
        for statistic in ("T_max", "T_R")
        for expert in ("zero", "mixture")
    ]
    frame = pd.DataFrame(keys, columns=pd.Index(["month", "loss", "statistic", "expert"]))
    return frame.assign(p_value=[0.01 + 0.05 * place for place in range(len(keys))], in_set=True)


def test_the_last_months_p_of_the_relative_loss_stands_beside_the_scores() -> None:
    frame = rows()
    wanted = frame[(frame["month"] == DATA.month) & (frame["loss"] == "relative_squared_error")]
    wanted = wanted[wanted["statistic"] == "T_max"].set_index("expert")["p_value"]
    for language in LANGUAGES:
        words = Words(language)
        sheet = forecast_scores(replace(DATA, confidence_set=frame), words)
        assert sheet.heads[-1].text == words("head.confidence_set")
        cells = {row[0].text: row[-1].text for row in sheet.rows}
        assert cells[words("expert.mixture")] == f"{wanted['mixture']:.3f}"
        assert cells[words("expert.zero")] == f"{wanted['zero']:.3f}"
        assert cells[words("expert.historical_mean")] == "–"  # not compared


def test_without_a_set_the_column_is_empty() -> None:
    sheet = forecast_scores(DATA, Words("en"))
    assert {row[-1].text for row in sheet.rows} == {"–"}
    assert all(len(row) == len(sheet.heads) for row in sheet.rows)
