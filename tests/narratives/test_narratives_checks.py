"""Slots and their rendering, and both checks on single mistakes: each is refused for the right reason."""

from __future__ import annotations

import re

import pytest
from narratives_cases import INDEX_NAMES

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.draft import Draft, DraftSentence, Provenance
from rotation_pipeline.narratives.fact import Fact
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.narratives.slots import SlotError, parts_of, render, render_slot, shown, slots
from rotation_pipeline.narratives.verify import check_slots, check_text, joined
from rotation_pipeline.narratives.wording import wording

OPTIONS = NarrativeOptions()
ZH, EN = wording("zh", OPTIONS), wording("en", OPTIONS)


def fact(subject: str, measure: str, kind: str, unit: str, precision: int, value: float | str) -> Fact:
    number, label = (None, value) if isinstance(value, str) else (value, None)
    return Fact(FACT_IDS[subject, measure], kind, subject, measure, number, label, unit, precision)


RETURN = fact("index", "return_1m", "return", "fraction", 2, -0.0231)
CHANGE = fact("MOM", "weight_change", "weight_change", "points", 1, 3.14)
WEIGHT = fact("MOM", "weight", "weight", "fraction", 1, 0.25)
RANK = fact("MOM", "weight_rank", "rank", "rank", 0, 2.0)
DRAWDOWN = fact("strategy", "drawdown", "drawdown", "fraction", 2, -0.0812)
REGIME = fact("market", "regime", "regime", "label", 0, "bear")
MONTHS = fact("market", "months_in_regime", "count", "months", 0, 1.0)
PERCENTILE = fact("index", "volatility_percentile", "percentile", "percentile", 0, 63.6)
FAVOURED = fact("strategy", "favoured", "style", "label", 0, "MOM")
HINT = fact("strategy", "tension", "hint", "label", 0, "tension")
FACTS = {
    item.fact_id: item for item in (RETURN, CHANGE, WEIGHT, RANK, DRAWDOWN, REGIME, MONTHS, PERCENTILE, FAVOURED, HINT)
}
R, C, W, D, G, M, F, H = (item.fact_id for item in (RETURN, CHANGE, WEIGHT, DRAWDOWN, REGIME, MONTHS, FAVOURED, HINT))


def draft(*sentences: tuple[str, tuple[str, ...]]) -> Draft:
    return Draft(tuple(DraftSentence(*sentence) for sentence in sentences), Provenance("llm", "p", "h"))


GOOD_EN = (
    (f"{{{R}|subject}} {{{R}|dir}} {{{R}|abs}} this month, and the {{{G}|label}} regime {{{M}|measure}} {{{M}|value}}.", (R, G, M)),
    (f"The model {{{F}|measure}} {{{F}|label}}, {{{C}|dir}} {{{C}|abs}} to a {{{W}|measure}} of {{{W}|value}}.", (F, C, W)),
    (f"{{{D}|subject}} stands at a {{{D}|measure}} of {{{D}|value}}; {{{H}|hint}}.", (D, H)),
)  # fmt: skip
GOOD_ZH = (
    (
        f"{{{R}|subject}}本月{{{R}|dir}}{{{R}|abs}}，{{{G}|measure}}为{{{G}|label}}，{{{M}|measure}}{{{M}|value}}。",
        (R, G, M),
    ),
    (f"模型{{{F}|measure}}{{{F}|label}}，{{{W}|measure}}{{{C}|dir}}{{{C}|abs}}至{{{W}|value}}。", (F, C, W)),
    (f"{{{D}|subject}}{{{D}|measure}}为{{{D}|value}}，{{{H}|hint}}。", (D, H)),
)
GOOD: dict[Language, tuple[tuple[str, tuple[str, ...]], ...]] = {"zh": GOOD_ZH, "en": GOOD_EN}


def text_errors(language: Language, *edits: tuple[str, str], options: NarrativeOptions = OPTIONS) -> list[str]:
    words = wording(language, options)
    sentences = [(render(text, FACTS, words), ids) for text, ids in GOOD[language]]
    for old, new in edits:
        assert any(old in text for text, _ in sentences), old
        sentences = [(text.replace(old, new), ids) for text, ids in sentences]
    return check_text(joined([text for text, _ in sentences], language), sentences, FACTS, language, options)


def test_rendering() -> None:
    assert render(GOOD_ZH[0][0], FACTS, ZH) == "上证50本月下跌2.31%，市场状态为熊市，已持续1个月。"
    assert (
        render(GOOD_EN[0][0], FACTS, EN) == "The SSE 50 fell 2.31% this month, and the bear regime has lasted 1 month."
    )
    assert render(GOOD_ZH[1][0], FACTS, ZH) == "模型权重最高的风格是动量，权重上调3.1个百分点至25.0%。"
    assert render_slot(PERCENTILE, "value", ZH) == "近12个月第64百分位"
    assert render_slot(PERCENTILE, "value", EN) == "the 64th percentile of the last 12 months"
    for number, zh, en in ((100.0, "近12个月最高水平", "the highest level of the last 12 months"), (0.0, "近12个月最低水平", "the lowest level of the last 12 months")):  # fmt: skip
        end = fact("index", "volatility_percentile", "percentile", "percentile", 0, number)
        assert (render_slot(end, "value", ZH), render_slot(end, "value", EN)) == (zh, en)
    loss = fact("MOM", "forecast", "forecast", "fraction", 2, -0.0123)
    assert render_slot(loss, "value", ZH) == "−1.23%"  # a minus, not a hyphen
    assert [render_slot(fact("MOM", "weight_rank", "rank", "rank", 0, float(n)), "value", EN) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "direction", "text"), [(0.02, "上涨", "2.00"), (-0.02, "下跌", "-2.00"), (-0.00004, "持平于", "0.00"), (0.0, "持平于", "0.00")])  # fmt: skip
def test_direction_is_that_of_the_number_shown(value: float, direction: str, text: str) -> None:
    item = fact("index", "return_1m", "return", "fraction", 2, value)
    assert render_slot(item, "dir", ZH) == direction
    assert shown(item) == text


@pytest.mark.parametrize("value", [0.0, 0.04, -0.04])
def test_a_weight_that_shows_no_change_is_left_unchanged_without_a_number(value: float) -> None:
    item = fact("MOM", "weight_change", "weight_change", "points", 1, value)
    slot = f"{{{C}|dir}} {{{C}|abs}}"
    assert render(f"It is {slot}, and {slot} at the month end.", {C: item}, EN) == (
        "It is left unchanged, and left unchanged at the month end."
    )
    assert render(f"月末{slot.replace(' ', '')}。", {C: item}, ZH) == "月末未作调整。"
    sentences = [
        (render(text, {**FACTS, C: item}, EN).replace(" to a weight", ", a weight"), ids) for text, ids in GOOD_EN
    ]
    text = joined([sentence for sentence, _ in sentences], "en")
    assert check_text(text, sentences, {**FACTS, C: item}, "en", OPTIONS) == []
    errors = check_text(text, sentences, FACTS, "en", OPTIONS)  # the same text of a month with a change
    assert errors == [f"sentence 2: 'left unchanged' is not {C} (MOM weight_change = 3.1)"]


def test_slots_know_their_parts() -> None:
    assert parts_of(RETURN, ZH) == {"subject", "measure", "dir", "abs", "value"}
    assert parts_of(WEIGHT, ZH) == {"subject", "measure", "value"}
    assert parts_of(CHANGE, ZH) == {"subject", "dir", "abs"}
    assert parts_of(REGIME, ZH) == {"measure", "label"}
    assert parts_of(MONTHS, ZH) == {"measure", "value"}
    assert parts_of(HINT, ZH) == {"hint", "meaning"}
    assert [(slot.fact_id, slot.part) for slot in slots("{f01|dir} {f01|abs} {f2}")] == [("f01", "dir"), ("f01", "abs")]
    with pytest.raises(SlotError, match="names no fact"):
        render("{f00|abs}", FACTS, ZH)
    with pytest.raises(SlotError, match="has no part 'dir'"):
        render_slot(REGIME, "dir", ZH)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_good_drafts_pass_both_checks(language: Language) -> None:
    assert check_slots(draft(*GOOD[language]), FACTS, language, OPTIONS) == []
    assert text_errors(language) == []


@pytest.mark.parametrize("names", INDEX_NAMES)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_digits_of_the_index_name_are_no_numbers(language: Language, names: tuple[str, str]) -> None:
    """上证50: the classic false alarm, in a slot and written out."""
    options = NarrativeOptions(index_name_zh=names[0], index_name_en=names[1])
    assert text_errors(language, options=options) == []
    written = (
        GOOD[language][0][0].replace(f"{{{R}|subject}}", names[0 if language == "zh" else 1]),
        GOOD[language][0][1],
    )
    assert check_slots(draft(written, *GOOD[language][1:]), FACTS, language, options) == []


BAD_SLOTS: tuple[tuple[Language, str, tuple[str, ...], str], ...] = (
    ("en", "{f999|value} stood.", ("f999",), "names no fact"),
    ("en", f"{{{G}|value}}.", (G,), "has no part 'value'"),
    ("en", f"{{{R}|subject}} stood at {{{R}|abs}}.", (R,), "needs .* directly before it"),
    ("en", f"{{{R}|subject}} {{{R}|dir}} it.", (R,), "directly after it"),
    ("en", f"{{{R}|dir}} {{{C}|abs}}.", (R, C), "directly after it"),
    ("en", f"{{{R}|subject}} of {{{R}|value}}.", (R, W), f"lists {W} without using it"),
    ("en", f"{{{R}|subject}} of {{{R}|value}}.", (), f"uses {R} without listing it"),
    ("en", f"{{{R}|subject}} of {{{R}|value}}.", (R, R), "twice"),
    ("en", "The market stood.", (), "no slot"),
    ("en", f"{{{R}|value}} and 5.", (R,), "digit '5'"),
    ("en", f"{{{R}|value}} and ５.", (R,), "digit '５'"),
    ("en", f"{{{R}|value}} {{x}}.", (R,), "brace"),
    ("en", f"{{{R}|value}} of momentum.", (R,), "name 'momentum'"),
    ("en", f"{{{R}|value}} in a bear regime.", (R,), "name 'bear'"),
    ("en", f"{{{R}|value}} and twenty.", (R,), "number word 'twenty'"),
    ("en", f"{{{R}|value}} sharply.", (R,), "degree word"),
    ("en", f"{{{R}|value}} because of it.", (R,), "cause"),
    ("zh", f"{{{R}|value}}约三成。", (R,), "number word '三'"),
    ("zh", f"{{{R}|value}}①。", (R,), "digit '①'"),
    ("zh", f"动量{{{R}|value}}。", (R,), "name '动量'"),
    ("zh", f"{{{R}|value}}大幅。", (R,), "degree word"),
    ("zh", f"建议{{{R}|value}}。", (R,), "advice"),
    ("zh", f"{{{R}|value}}并未。", (R,), "negation"),
)


@pytest.mark.parametrize(("language", "text", "ids", "message"), BAD_SLOTS)
def test_slot_check_names_the_mistake(language: Language, text: str, ids: tuple[str, ...], message: str) -> None:
    errors = check_slots(draft((text, ids), *GOOD[language][1:]), FACTS, language, OPTIONS)
    assert any(error.startswith("sentence 1: ") and re.search(message, error) for error in errors), errors


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_three_to_five_sentences(count: int) -> None:
    many = (GOOD_EN * 3)[:count]
    assert any("sentences" in error for error in check_slots(draft(*many), FACTS, "en", OPTIONS))
    texts = [(render(text, FACTS, EN), ids) for text, ids in many]
    assert any(
        "sentences" in error
        for error in check_text(joined([text for text, _ in texts], "en"), texts, FACTS, "en", OPTIONS)
    )


BAD_TEXTS: tuple[tuple[Language, str, str, str], ...] = (
    ("en", "2.31%", "2.32%", "is not f"),
    ("en", "2.31%", "2.3%", "shows 1 decimals"),
    ("en", "2.31%", "2.310%", "shows 3 decimals"),
    ("en", "fell 2.31%", "fell −2.31%", "sign beside its direction"),
    ("en", "8.12%", "−8.12%", "is not f"),
    ("en", "8.12%", "-8.12%", "a hyphen for a minus sign"),
    ("en", "8.12%", "+8.12%", "sign it does not need"),
    ("en", "fell", "rose", "the direction before"),
    ("en", "bear", "slow bull", "is not regime"),
    ("en", "momentum", "value", "is not favoured"),
    ("en", "3.1 percentage points", "3.1%", "fits 0 facts"),
    ("en", "raised by 3.1 percentage points", "left unchanged", "'left unchanged' is not f"),
    ("en", "raised by 3.1", "left unchanged 3.1", "fits 0 facts"),
    ("en", "raised by 3.1", "changed by 3.1", "wording"),
    ("en", "3.1 percentage points", "3.1 percentage points on the month", "wording 'on'"),
    ("en", "3.1 percentage points", "3.1 percentage points over the month", "wording 'over'"),
    ("en", "fell 2.31%", "left unchanged", "who has no weight_change"),
    ("en", "1 month", "1 quarter", "wording"),
    ("en", "The SSE 50", "The rotation strategy", "fits 0 facts"),
    ("en", "The SSE 50", "The market index", "wording"),
    ("en", "are in tension", "are not in tension", "wording"),
    ("en", "this month,", "this month, stood with the styles,", "states no fact"),
    ("en", "this month,", "this month and stood,", "states no fact"),
    ("en", "this month", "this month of value", "nothing is said of it"),
    ("en", "is heaviest in momentum", "is heaviest in", "not followed by the name"),
    ("zh", "2.31%", "2.13%", "is not f"),
    ("zh", "下跌", "上涨", "the direction before"),
    ("zh", "下跌2.31%", "下跌", "without a number directly after it"),
    ("zh", "下跌2.31%", "大幅下跌2.31%", "degree word '大幅'"),
    ("zh", "熊市", "慢牛", "is not regime"),
    ("zh", "动量", "质量", "is not favoured"),
    ("zh", "3.1个百分点", "3.1%", "fits 0 facts"),
    ("zh", "上调3.1个百分点", "未作调整", "'未作调整' is not f"),
    ("zh", "上调3.1", "未作调整3.1", "fits 0 facts"),
    ("zh", "上调3.1", "较上月上调3.1", "wording '较上月'"),
    ("zh", "，权重上调", "，月末未在风格之间调仓，权重随收益自然漂移，权重上调", "does not hold this month"),
    ("zh", "1个月", "1年", "fits 0 facts"),
    ("zh", "上证50", "上证51", "wording"),
    ("zh", "收益预测与市场状态相左", "这一配置与市场状态相符", "does not hold this month"),
    ("zh", "，权重", "，模型在本月，权重", "states no fact"),
    ("zh", "8.12%", "８.12%", "wording"),
)


@pytest.mark.parametrize(("language", "old", "new", "message"), BAD_TEXTS)
def test_text_check_names_the_mistake(language: Language, old: str, new: str, message: str) -> None:
    errors = text_errors(language, (old, new))
    assert any(message in error for error in errors), errors


def test_text_check_compares_the_listed_facts() -> None:
    sentences = [(render(text, FACTS, EN), ids) for text, ids in GOOD_EN]
    text = joined([sentence for sentence, _ in sentences], "en")
    sentences[0] = (sentences[0][0], (R, G))
    assert check_text(text, sentences, FACTS, "en", OPTIONS) == [f"sentence 1: states {M} without listing it"]
    sentences[0] = (sentences[0][0], (R, G, M, W))
    assert check_text(text, sentences, FACTS, "en", OPTIONS) == [f"sentence 1: lists {W} without stating it"]
    assert "the text is not its sentences put together" in check_text(text + " More.", sentences, FACTS, "en", OPTIONS)
