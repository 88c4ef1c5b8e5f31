"""README and docs hold: commands parse, files exist, settings are accepted, code runs, generated text is current."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.core import TyperGroup

from rotation_pipeline.cli import app
from rotation_pipeline.market.simulation.moments import moments
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.settings import CONFIG_VARIABLE, PREFIX, SettingsError, load_settings
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.dictionary import COMMAND, dictionary_markdown
from rotation_pipeline.warehouse.store import open_warehouse

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "docs" / "data-dictionary.md"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "README.zh.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path != GENERATED),
)
FOLDERS = ("rotation_pipeline/", "dbt_like_sql/", "docs/", "tests/", "benchmarks/")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}-{self.number}"


def every_block() -> list[Block]:
    return [
        Block(path.name, number, found[1], found[2])
        for path in DOCUMENTS
        for number, found in enumerate(FENCE.finditer(path.read_text(encoding="utf-8")), 1)
    ]


def blocks(language: str) -> list[Block]:
    return [block for block in every_block() if block.language == language]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """Python is run, SQL is run, TOML is read, commands are parsed; bash is what generated pages show; text is output."""
    assert {block.language for block in every_block()} <= {"python", "sql", "toml", "sh", "bash", "text"}


def inline_code() -> list[tuple[str, str]]:
    """(document, text) of every piece of code inside a sentence or table."""
    return [
        (path.name, text)
        for path in DOCUMENTS
        for text in INLINE.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    ]


def command_lines() -> list[str]:
    shell = [line.strip() for block in blocks("sh") for line in block.text.splitlines()]
    found = [*shell, *(text for _, text in inline_code())]
    return sorted({line.partition("  #")[0].strip() for line in found if re.match(r"rotation [a-z]", line)})


def parse(line: str) -> dict[str, object]:
    """What typer makes of ``rotation …``; nothing is run. Raises its usage errors."""
    command, rest = typer.main.get_command(app), shlex.split(line)[1:]
    while isinstance(command, TyperGroup) and rest:
        name, *rest = rest
        assert name in command.commands, f"there is no command {name!r}: {line}"
        command = command.commands[name]
    if not rest:  # a bare mention names a command; that it exists is all it says
        return {}
    return command.make_context(command.name, list(rest)).params


def command_names() -> list[str]:
    """``run``, …, ``study recovery``: every command that does something."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    names: list[str] = []
    for name, command in group.commands.items():
        below = command.commands if isinstance(command, TyperGroup) else None
        names += [name] if below is None else [f"{name} {inner}" for inner in below]
    return names


def setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper().replace(".", "__"), value)


# ---------------------------------------------------------------------- commands


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_parses_and_its_settings_are_accepted(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params = parse(line)
    pairs = params.get("pairs") or ()
    assert isinstance(pairs, list | tuple)
    for pair in pairs:
        name, _, value = str(pair).partition("=")
        setting(monkeypatch, name, value)
    for option, name in (
        ("first", "sample.start"),
        ("last", "sample.end"),
        ("source", "source.name"),
        ("path", "source.path"),
    ):
        if params.get(option) is not None:
            setting(monkeypatch, name, str(params[option]))
    load_settings()
    named = params.get("stage") or ()
    assert isinstance(named, list | tuple)
    assert set(named) <= {stage.name for stage in stages()}


def test_an_unknown_option_or_command_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--nonsense"):
        parse("rotation run --nonsense")
    with pytest.raises(Exception, match="nonsense"):
        parse("rotation nonsense")


def test_every_command_has_an_example_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Commands") : readme.index("## In Dagster")]
    for name in command_names():
        assert f"| `{name}` |" in section, f"README's table of commands lacks {name}"
        assert f"`rotation {name}" in section, f"README has no example of {name}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "".join(block.text for block in blocks("sh")) + " ".join(f" {code} " for _, code in inline_code())
    named = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )?([a-z]+)\b", text))
    assert named
    assert named <= targets


# ---------------------------------------------------------------------- files, stages and tables


def parts(document: str) -> list[str]:
    """What stands under each heading of a README, code taken out."""
    text = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    return re.split(r"^#+ .*$", text, flags=re.MULTILINE)


def test_the_chinese_readme_is_in_step_with_the_english_one() -> None:
    """Headings, code, commands, names in code style, table rows, list items and links: only the words differ."""
    english, chinese = parts("README.md"), parts("README.zh.md")
    assert len(chinese) == len(english)
    for ours, theirs in zip(chinese, english, strict=True):
        where = theirs.strip()[:60]
        assert sorted(INLINE.findall(ours)) == sorted(INLINE.findall(theirs)), where
        for mark in (r"^\|", r"^- "):
            found = [len(re.findall(mark, text, re.MULTILINE)) for text in (ours, theirs)]
            assert found[0] == found[1], where
        links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (ours, theirs)]
        assert links[0] ^ links[1] <= {"README.md", "README.zh.md"}, where
        assert len(ours.split("\n\n")) == len(theirs.split("\n\n")), where
    code = {
        document: [block for block in every_block() if block.document == document]
        for document in ("README.md", "README.zh.md")
    }
    assert len(code["README.md"]) == len(code["README.zh.md"])
    for ours, theirs in zip(code["README.zh.md"], code["README.md"], strict=True):
        assert ours.language == theirs.language
        if ours.text != theirs.text:  # the layout is told in the reader's language, path by path
            assert ours.language == "text"
            assert [line.split()[0] for line in ours.text.splitlines()] == [
                line.split()[0] for line in theirs.text.splitlines()
            ]


def test_paths_in_the_layout_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = FENCE.search(readme, readme.index("## Layout"))
    assert tree is not None
    paths = [line.split()[0] for line in tree[2].splitlines()]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_paths_in_sentences_exist() -> None:
    named = [(document, text) for document, text in inline_code() if text.startswith(FOLDERS) and " " not in text]
    assert named
    assert [item for item in named if not (ROOT / item[1]).exists()] == []


def test_links_to_files_exist() -> None:
    links = [
        (path, target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    ]
    assert links
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []


def test_the_picture_is_small_enough_to_clone() -> None:
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 300_000


def test_the_architecture_names_every_stage_and_where_it_begins() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \| (\w+) \|$", text, re.MULTILINE)
    assert rows == [(stage.name, stage.group, stage.begins) for stage in stages()]


def test_tables_and_columns_named_exist() -> None:
    known = catalog()
    for document, text in inline_code():
        found = re.fullmatch(r"((?:raw|truth|staging|intermediate|marts)\.\w+)(?:\.(\w+))?", text)
        if found:
            assert found[1] in known, f"{document}: {text}"
            assert not found[2] or found[2] in known[found[1]].column_names, f"{document}: {text}"


def test_the_canonical_layout_is_that_of_the_definitions() -> None:
    text = (ROOT / "docs" / "real-data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ((?:`\w+`(?:, )?)+) \|$", text, re.MULTILINE)
    written = {name: re.findall(r"\w+", columns) for name, columns in rows}
    assert written == {table.name: table.column_names[1:] for table in SOURCE_TABLES}


def test_the_sanity_rules_written_down_are_those_in_the_code() -> None:
    text = (ROOT / "docs" / "real-data.md").read_text(encoding="utf-8")
    written = set(re.findall(r"`([0-7]_[a-z_]+)`", text))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rotation_pipeline/market/sanity").glob("*.py"))
    assert written == set(re.findall(r'"([0-7]_[a-z_]+)"', code))


def test_the_data_dictionary_is_current() -> None:
    assert GENERATED.read_text(encoding="utf-8") == dictionary_markdown(), f"regenerate it: {COMMAND}"


def test_the_data_dictionary_describes_every_column() -> None:
    text = dictionary_markdown()
    sections = {part.partition("\n")[0]: part for part in text.split("\n### ")[1:]}
    assert set(sections) == set(catalog())
    for name, table in catalog().items():
        rows = re.findall(r"^\| `(\w+)` \|", sections[name], re.MULTILINE)
        assert rows == table.column_names, name


# ---------------------------------------------------------------------- settings and mappings


def toml_blocks(kind: str) -> list[Block]:
    return [block for block in blocks("toml") if block.text.startswith(f"# {kind}\n")]


def test_every_toml_example_says_which_file_it_is() -> None:
    assert len(toml_blocks("rotation.toml")) + len(toml_blocks("mapping.toml")) == len(blocks("toml"))


@pytest.mark.parametrize("block", toml_blocks("rotation.toml"), ids=str)
def test_settings_in_an_example_are_accepted_and_no_defaults(block: Block, tmp_path: Path) -> None:
    plain = load_settings().model_dump()
    (tmp_path / "rotation.toml").write_text(block.text, encoding="utf-8")  # the working folder of a test is tmp_path
    read = load_settings().model_dump()
    for group, values in tomllib.loads(block.text).items():
        for name in values:
            assert read[group][name] != plain[group][name], f"{group}.{name} shows its default"
    (tmp_path / "rotation.toml").write_text(f"{block.text}\nnonsense = 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="nonsense"):
        load_settings()


def test_environment_variables_in_examples_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(block.text for block in blocks("sh"))
    given = re.findall(rf"({PREFIX}\w+)=(\S+)", text)
    assert given
    for name, value in given:
        monkeypatch.setenv(name, value)
        if name == CONFIG_VARIABLE:  # a file the reader has made by then
            Path(value).parent.mkdir(exist_ok=True)
            Path(value).touch()
    load_settings()


def columns_written(block: Block) -> dict[str, dict[str, object]]:
    content = tomllib.loads(block.text)
    return {name: section for name, section in content.items() if name != "source"}


@pytest.mark.parametrize("block", toml_blocks("mapping.toml"), ids=str)
def test_a_mapping_example_is_accepted(block: Block, tmp_path: Path) -> None:
    for name, section in columns_written(block).items():
        file = tmp_path / str(section.get("file", f"{name}.csv")).replace("*", "2024")
        file.parent.mkdir(exist_ok=True)
        file.write_text("nothing\n", encoding="utf-8")
    (tmp_path / "mapping.toml").write_text(block.text, encoding="utf-8")
    source = FilesSource(tmp_path)
    assert source.kind == ("simulated" if "[source]" in block.text else "real")
    (tmp_path / "mapping.toml").write_text(block.text.replace("factor", "facter", 1), encoding="utf-8")
    with pytest.raises(SourceError, match="facter"):
        FilesSource(tmp_path)


def test_the_first_mapping_turns_a_vendors_units_into_canonical_ones(tmp_path: Path) -> None:
    block = next(block for block in toml_blocks("mapping.toml") if block.document == "real-data.md")
    (tmp_path / "mapping.toml").write_text(block.text, encoding="utf-8")
    (tmp_path / "bars").mkdir()
    pl.DataFrame(
        {
            "ts_code": ["sh.606001", "606001.XSHG"], "trade_date": [20240102, 20240103], "open": [10.0, 10.1],
            "high": [10.2, 10.3], "low": [9.9, 10.0], "close": [10.1, 10.2], "pre_close": [10.0, 10.1],
            "vol": [3000, 0], "amount": [3030.0, 0.0], "hfq_factor": [1.5, 1.5], "trade_status": [1, 0], "st": [0, 0],
        }
    ).write_csv(tmp_path / "bars" / "2024.csv")  # fmt: skip
    rows = FilesSource(tmp_path).fetch("daily_bars", date(2024, 1, 1), date(2024, 1, 31)).sort("day")
    assert rows["asset_id"].to_list() == ["606001.SH", "606001.SH"]
    assert rows["day"].to_list() == [date(2024, 1, 2), date(2024, 1, 3)]
    assert rows["volume"].to_list() == [300_000.0, 0.0]
    assert rows["amount"].to_list() == [3_030_000.0, 0.0]
    assert rows["is_suspended"].to_list() == [False, True]
    assert rows["board"].to_list() == ["main", "main"]


# ---------------------------------------------------------------------- code


@pytest.fixture
def empty_database(tmp_path: Path) -> Path:
    """A database with every table and no row, where the examples look for it."""
    path = tmp_path / "data" / "simulated.duckdb"
    with open_warehouse(path, threads=1):
        return path


@pytest.mark.parametrize("document", sorted({block.document for block in blocks("python")}))
def test_python_examples_run(document: str, empty_database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        if block.document == document:
            exec(compile(block.text, str(block), "exec"), namespace)
    assert namespace
    if document == "simulated-market.md":
        tables = namespace["tables"]
        assert isinstance(tables, dict)
        found = moments(tables)
        assert_moments_as_written(dict(zip(found["moment"], found["value"], strict=True)))


def assert_moments_as_written(found: dict[str, float]) -> None:
    """The column of the default market in docs/simulated-market.md, to the digits written there."""
    text = (ROOT / "docs" / "simulated-market.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [-\d.]+ \| (-?\d+\.(\d+)) \| [^|]+ \|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == list(found)
    for name, written, decimals in rows:
        assert float(written) == pytest.approx(found[name], abs=0.51 * 10.0 ** -len(decimals)), name


def test_sql_examples_run(empty_database: Path) -> None:
    queries = [query for block in blocks("sql") for query in block.text.split(";") if query.strip()]
    assert queries
    with open_warehouse(empty_database, read_only=True, threads=1) as warehouse:
        for query in queries:
            assert warehouse.query(query).width > 1
