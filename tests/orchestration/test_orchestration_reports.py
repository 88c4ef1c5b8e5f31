"""Report files: whole or not at all, and nothing left beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rotation_pipeline.orchestration.reports import replace_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    replace_text(path, "old −")
    assert path.read_text(encoding="utf-8") == "old −"
    with path.open(encoding="utf-8") as reader:
        replace_text(path, "new")
        assert reader.read() == "old −", "who has it open reads on in the old one"
    assert path.read_text(encoding="utf-8") == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    honest = Path.write_text

    def part(self: Path, text: str, **options: str) -> None:
        honest(self, text[:1], **options)
        raise OSError("no space left on device")

    monkeypatch.setattr(*((Path, "write_text", part) if step == "write" else (os, "replace", fails)))
    with pytest.raises(OSError, match="no space left"):
        replace_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
