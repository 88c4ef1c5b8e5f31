"""Method texts: what the table holds in English is read back in Chinese, numbers included, and nothing else is."""

from __future__ import annotations

import re

import pytest
from backtest_world import MONTHS, QUICK, TRIAL_SETTINGS, backtest

from rotation_pipeline.backtest.methods import Language, method_in, method_text
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.trials import trial_rows


@pytest.fixture(scope="module")
def details() -> list[str]:
    """Every text of a month with few months of returns and of one with many."""
    book = backtest()
    trials = trial_rows(book, TRIAL_SETTINGS, MONTHS, QUICK)
    return sorted(set(significance_table(book, trials, [MONTHS[5], MONTHS[45]], QUICK)["detail"]))


def test_every_text_of_the_table_has_a_chinese_one_with_the_same_numbers(details: list[str]) -> None:
    assert len(details) > 10
    for detail in details:
        chinese = method_in("zh", detail)
        assert re.search(r"[\u4e00-\u9fff]", chinese), detail
        assert sorted(re.findall(r"[\d.]+\d%?", chinese)) == sorted(re.findall(r"[\d.]+\d%?", detail))
        assert method_in("en", detail) == detail
    assert len({method_in("zh", detail) for detail in details}) == len(details)


def test_texts_are_those_expected() -> None:
    detail = method_text("record", of_excess=True, confidence="95%", year=2012, have="10.1")
    assert detail == "years needed at 95% (Bailey-López de Prado 2012); have 10.1; of the excess return"
    assert method_in("zh", detail) == "95% 置信度所需年数（Bailey-López de Prado 2012）；现有 10.1；针对超额收益"


def test_a_book_is_named_in_words() -> None:
    detail = method_text("reality_check", count=3, best="softmax_mixture")
    assert method_in("en", detail) == detail
    languages: tuple[Language, ...] = ("en", "zh")
    texts = [
        method_in(language, detail, {"softmax_mixture": "Softmax on mixture"}.__getitem__) for language in languages
    ]
    assert texts[0] == detail.replace("softmax_mixture", "Softmax on mixture")
    assert "最优为Softmax on mixture；" in texts[1]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("detail", ["", "HAC", "years needed at 95%", "Bailey-López de Prado 2012; one-sided"])
def test_a_text_of_no_method_is_refused(detail: str, language: Language) -> None:
    with pytest.raises(ValueError, match=r"the text of no known method; recompute marts\.significance"):
        method_in(language, detail)
