"""The sheet of predictions."""

import pytest

from ddpm.files import ROOT, UserError
from docs import worksheet

PAGE = (ROOT / "README.rst").read_text("utf-8")


def test_every_prediction_of_the_lesson_has_its_place(tmp_path, capsys):
    out = tmp_path / "sheet.md"
    worksheet.main(["--out", str(out)])
    text, count = out.read_text("utf-8"), PAGE.count("**Predict, then ")
    assert count > 10 and f"{count} predictions" in capsys.readouterr().out
    assert text.count("- Before, I expect:") == count == text.count("\n## ") - 4
    assert "## Reflection: my reasons\n\n2 points, 0 of them by" in text
    assert "## Exercise 2: modify. Goal 3: what does a seed decide?" in text
    assert "Set `RANDOM_SEED = 43`. Which of the pictures" in text
    assert "``" not in text and "`_" not in text
    out.write_text("my reasons", "utf-8")
    with pytest.raises(UserError, match="--out"):
        worksheet.main(["--out", str(out)])
    assert out.read_text("utf-8") == "my reasons"


def test_links_become_their_words_and_code_stays_code():
    page = (
        "A\n-\n\nB\n~\n\n**Predict, then run.** Look at `the table`_ and\n"
        "`here <https://example.org>`__, set ``X = 1``; then:\n\nMore.\n"
    )
    assert list(worksheet.predictions(page)) == [
        ("A. B", "Look at the table and here, set `X = 1`; then.")
    ]
