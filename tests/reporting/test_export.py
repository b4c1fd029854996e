"""Tables as CSV and LaTeX, with all that may stand in them."""

import csv
import io
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax.figures.content import Cell, Row, Table
from ramjax.reporting import export

NASTY = '50 % & more_of #1 $x$ {a} ~ ^ \\ <b> |c| "q"'


def table(**changes) -> Table:
    rows = (
        Row(NASTY, (Cell(0.12345, 0.1, 0.2, 0.01, 7), Cell(math.nan)), "strict"),
        Row("published", (Cell(-0.5, digits=2), Cell(text="a, b")), "compat", "a paper"),
    )
    made = {"id": "one", "title": "Title_1", "caption": "50 % of κ ≥ 2.", "heading": "Run", "columns": ("A_1", "B")}
    return Table(**{**made, "rows": rows, **changes})


def test_csv_has_a_line_a_cell_at_full_precision():
    lines = list(csv.DictReader(io.StringIO(export.to_csv([table()]))))
    assert [line["column"] for line in lines] == ["A_1", "B", "A_1", "B"]
    first, empty, published, text = lines
    assert (first["row"], first["mode"], first["n"]) == (NASTY, "strict", "7")
    assert [float(first[key]) for key in ("value", "low", "high", "sd")] == [0.12345, 0.1, 0.2, 0.01]
    assert empty["value"] == empty["n"] == "" and text["text"] == "a, b"
    assert (published["value"], published["source"], published["mode"]) == ("-0.5", "a paper", "compat")


def test_latex_of_a_small_table():
    text = export.to_latex([table()], "A note.")
    assert text.startswith("% A note.\n")
    assert r"\caption{Title\_1. 50 \% of $\kappa$ $\geq$ 2.}" in text and r"\label{tab:one}" in text
    assert r"\begin{tabular}{llrr}" in text and r"Run & Evaluator & A\_1 & B \\" in text
    assert r"0.123 $\pm$ 0.010 {\scriptsize [0.100, 0.200] n=7} & -- \\" in text
    assert r"published (a paper) & compat & $-$0.50 & a, b \\" in text


def test_a_mode_that_all_rows_share_is_in_the_title_instead():
    rows = tuple(Row(str(k), (Cell(1.0), Cell(2.0)), "strict") for k in range(2))
    text = export.to_latex([table(rows=rows)], "")
    assert "Evaluator" not in text and r"\caption{Title\_1 (strict)." in text


def test_wide_tables_have_their_intervals_below_the_values():
    cells = (Cell(0.5, 0.4, 0.6, n=9),) * 8
    text = export.to_latex([table(columns=tuple("abcdefgh"), rows=(Row("r", cells),))], "")
    below = r"\begin{tabular}[t]{@{}r@{}}0.500\\{\scriptsize [0.400, 0.600] n=9}\end{tabular}"
    assert text.count(below) == 8
    assert_balanced(text)
    many = export.to_latex([table(columns=tuple("abcdefgh"), rows=(Row("r", cells),) * 30)], "")
    assert "[t]" not in many  # or they would be higher than a page


def test_sentences_are_set_in_paragraphs():
    rows = (Row("r", (Cell(text="a word"), Cell(text="all that a metric means, in more than forty letters"))),)
    assert r"\begin{tabular}{llp{0.80\textwidth}}" in export.to_latex([table(rows=rows)], "")


def test_the_best_is_bold_in_latex():
    rows = tuple(Row(name, (Cell(value), Cell(0.5, sd=0.1)), "strict") for name, value in (("x", 0.25), ("y", 0.75)))
    text = export.to_latex([table(rows=rows, better=(1, 0))], "")
    assert r"x & 0.250 & 0.500 $\pm$ 0.100 \\" in text and r"y & \textbf{0.750} & 0.500 $\pm$ 0.100 \\" in text
    assert "The best values are bold.}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX: apt-get install texlive-latex-recommended")
@pytest.mark.parametrize("name", ["several", "wrists", "nasty"])
def test_latex_makes_pages_of_it(name, request, tmp_path):
    """In an article as LaTeX makes it, which has the narrowest lines."""
    nasty = [table(), table(id="two", rows=(), better=(1, -1)), table(id="three", title="±−–≥≤∞×²κ·→∩…" + NASTY)]
    made = export.to_latex(nasty, "") if name == "nasty" else None
    text = made or (request.getfixturevalue(name) / "tables.tex").read_text()
    (tmp_path / "tables.tex").write_text(text)
    packages = re.search(r"^% (\\usepackage.*)$", text, re.MULTILINE)[1]
    names = re.findall(r"\\label\{(.*?)\}", text)
    (tmp_path / "article.tex").write_text(
        "\n".join([r"\documentclass{article}", packages, r"\begin{document}", r"\input{tables}"])
        + "".join(rf" \ref{{{name}}}" for name in names)
        + "\n\\end{document}\n"
    )
    for _ in range(2):  # the second time, references are known
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "article.pdf").stat().st_size > 10_000
    for amiss in ("Overfull", "too large", "undefined", "multiply defined"):
        assert amiss not in done.stdout, re.search(f".*{amiss}.*", done.stdout)[0]


def test_a_row_has_as_many_cells_as_there_are_columns():
    with pytest.raises(ValueError, match="Row 'r' of one has 1 cells, not 2"):
        table(rows=(Row("r", (Cell(1.0),)),))


@given(st.text(max_size=40))
def test_escaped_text_is_inert(text):
    escaped = export.escape(text)
    assert_balanced(escaped)
    # What is left without the escapes holds nothing that LaTeX would act on.
    rest = re.sub(r"\$\\[a-z]+\$|\$-\$|\$\^2\$|\\[a-z]+\{\}|\\[&%$#_{}]", "", escaped)
    assert not set(rest) & set("\\&%$#_{}~^")


def test_a_report_in_latex_is_well_formed(several):
    text = (several / "tables.tex").read_text()
    assert_balanced(text)
    for environment in ("table", "tabular"):
        opened, closed = text.count(rf"\begin{{{environment}}}"), text.count(rf"\end{{{environment}}}")
        assert opened == closed > 10
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels)
    for block in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in block[1].splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(block[0]) - 1
    assert text.isascii()


def assert_balanced(text: str) -> None:
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
