"""Names, the baseline, chosen tables and captions, as a user gives them."""

import re
import tomllib

import numpy as np
import pytest

from ramjax import csv_text
from ramjax.errors import RunError
from ramjax.figures.content import Cell, Folded, Row, Section, Table
from ramjax.metrics import statistics
from ramjax.reporting import tables
from ramjax.reporting.write import write_report
from tests.reporting import fakes, pages

REPLICATES = 100
CAPTION = 'Kappa of "all" sites, 50 % of them.\nA second line.'


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices")
    made = {
        "seed0": dict(of=fakes.cases(12, tasks=("be",))),
        "seed1": dict(of=fakes.cases(12, tasks=("be",), seed=1), seed=1),
        "better": dict(of=fakes.cases(12, tasks=("be",), seed=2, skill=0.9), name="better"),
        "worse": dict(of=fakes.cases(12, tasks=("be",), seed=3, skill=0.5), name="worse"),
    }
    return [str(fakes.write_run(folder / name, **of, pictures=False, curves=False)) for name, of in made.items()]


NAMES = ["Base_1", "Base_1", "More <b>", "Less"]


@pytest.fixture(scope="module")
def made(workdirs, tmp_path_factory):
    """A report with everything: named, compared with the baseline, some tables, captions to be edited."""
    folder = tmp_path_factory.mktemp("made")
    options = dict(names=NAMES, baseline="Base_1", chosen=["be", "*compare*", "ram-phantom-be-t*"])
    write_report(workdirs, folder / "r.html", REPLICATES, **options, captions=folder / "captions.toml")
    return folder


def test_systems_have_the_names_that_were_given(made):
    values = pages.values(made / "tables.csv")
    rows = {key[1] for key in values if key[0] == "ram-phantom-be"}
    assert rows == {"Base_1", "More <b>", "Less"}
    text = (made / "r.html").read_text()
    assert "<h1>Base_1, More &lt;b&gt; and Less</h1>" in text and "<b>" not in text
    assert "Base\\_1" in (made / "tables.tex").read_text()


def test_every_other_system_is_compared_with_the_baseline_and_corrected_for_all(made):
    values = pages.values(made / "tables.csv")
    compared = {key[0] for key in values if "compare" in key[0]}
    assert compared == {"ram-phantom-compare-1", "ram-phantom-compare-2"}
    titles = re.findall(r"<strong>(.*?) \(strict\)</strong>", (made / "r.html").read_text())
    assert [title for title in titles if " less " in title] == ["More &lt;b&gt; less Base_1", "Less less Base_1"]
    p, corrected = (
        [float(line["value"]) for key, line in values.items() if "compare" in key[0] and key[3] == column]
        for column in ("p-value", "p-value, corrected")
    )
    metrics = [key for key in values if key[0] == "ram-phantom-compare-1" and key[3] == "Difference"]
    assert len(p) == 2 * len(metrics) >= 6
    np.testing.assert_allclose(corrected, statistics.holm(p))
    text = (made / "r.html").read_text()
    assert f"take the {len(p)} p-values of this section, all metrics and systems, for one family." in text
    least, enough = f"{len(p) * 2 / (REPLICATES + 1):.2g}", 200 * len(p)
    words = f"With 100 replicates none of them can be below {least}; --replicates={enough} lets the smallest be 0.01"
    assert words in text
    better = values["ram-phantom-compare-1", "BE, MAE", "strict", "Difference"]
    worse = values["ram-phantom-compare-2", "BE, MAE", "strict", "Difference"]
    assert float(better["value"]) < 0 < float(worse["value"])


def test_without_a_baseline_all_pairs_are_one_family(workdirs, tmp_path):
    write_report(workdirs, tmp_path / "r.html", REPLICATES, chosen=["compare-*"])
    values = pages.values(tmp_path / "tables.csv")
    assert {key[0] for key in values} == {f"ram-phantom-compare-{k}" for k in (1, 2, 3)}
    p, corrected = (
        [float(line["value"]) for key, line in values.items() if key[3] == column]
        for column in ("p-value", "p-value, corrected")
    )
    assert len(p) == 3 * sum(key[0].endswith("-1") and key[3] == "Difference" for key in values) >= 9
    np.testing.assert_allclose(corrected, statistics.holm(p))


def test_the_best_of_the_systems_is_bold(made):
    (table,) = re.findall(
        r'<figure class="table[^"]*" id="table-ram-phantom-be">.*?</figure>', (made / "r.html").read_text(), re.S
    )
    rows = re.findall(r"<tr.*?</tr>", table, re.S)
    columns = re.findall(r"<th scope=.col.[^>]*>(.*?)</th>", rows[0])
    bold = {
        (re.search(r"<th scope=.row.>(.*?)</th>", row)[1].strip(), mode, columns[index])
        for row in rows[1:]
        for mode in re.findall(r'<td class="mode">(.*?)</td>', row)
        for index, cell in enumerate(re.findall(r"<td.*?</td>", row, re.S), 1)
        if "<strong>" in cell
    }
    values = pages.values(made / "tables.csv")
    for mode in ("strict", "compat"):
        of = {name: float(values["ram-phantom-be", name, mode, "MAE"]["value"]) for name in set(NAMES)}
        assert min(of, key=of.get) == "More <b>"
        assert {key for key in bold if key[1:] == (mode, "MAE")} == {("More &lt;b&gt;", mode, "MAE")}
        assert ("More &lt;b&gt;", mode, "QWK") in bold
    assert "The best values are bold." in table
    body = (made / "tables.tex").read_text().partition(r"\label{tab:ram-phantom-be}")[2].partition(r"\end{table}")[0]
    assert body.count(r"\textbf") == table.count("<strong>") - 1  # the title of the page's table, too


def test_the_tables_that_were_chosen_are_everywhere(made):
    expected = ["ram-phantom-be", "ram-phantom-be-totals", "ram-phantom-compare-1", "ram-phantom-compare-2"]
    text, latex = (made / "r.html").read_text(), (made / "tables.tex").read_text()
    assert list(pages.tables(text)) == expected
    assert list(dict.fromkeys(key[0] for key in pages.values(made / "tables.csv"))) == expected
    assert re.findall(r"\\label\{tab:(.*?)\}", latex) == expected
    assert '<section id="summary">' not in text and 'href="#summary"' not in text  # it had tables only
    assert "<svg" in text


def test_captions_are_written_to_be_edited_and_read_again(made, workdirs, tmp_path):
    path = made / "captions.toml"
    template = path.read_text()
    assert tomllib.loads(template) == {}  # all is commented out, so that it changes nothing
    everything = tomllib.loads("\n".join(re.sub('^# (.*[]"])$', r"\1", line) for line in template.splitlines()))
    assert everything["runs"]["title"] == "What was evaluated" and "ram-phantom-be-sites-system-1" in everything
    edited = tmp_path / "captions.toml"
    edited.write_text(f"[ram-phantom-be]\ntitle = 'Erosion'\ncaption = '''{CAPTION}'''\n[gone]\ncaption = ''\n")
    options = dict(names=NAMES, baseline=workdirs[0], chosen=["be"], captions=edited)
    before = edited.read_bytes()
    write_report(workdirs, tmp_path / "r.html", REPLICATES, **options)
    latex, text = (tmp_path / "tables.tex").read_text(), (tmp_path / "r.html").read_text()
    assert "\\caption{Erosion. Kappa of ''all'' sites, 50 \\% of them.\nA second line." in latex
    assert "<strong>Erosion</strong>" in text and "Kappa of &#34;all&#34; sites" in text
    assert edited.read_bytes() == before


def test_captions_of_tables_that_are_not_there_are_a_warning(workdirs, tmp_path, caplog):
    (tmp_path / "c.toml").write_text("[ram-phantom-bee]\ncaption = 'x'\n")
    write_report(workdirs[:1], tmp_path / "r.html", REPLICATES, captions=tmp_path / "c.toml")
    assert "has captions of ram-phantom-bee, which the report does not have" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[be\n", "cannot be read .*line 1"),
        ("title = 'x'\n", r"has title outside a table; remove the # of the line \[ID\] above it"),
        ("[be]\ncaptoin = 'x'\n", r"has be.captoin = 'x'; write title = "),
        ("[be]\ntitle = 1\n", r"has be.title = 1; write title = "),
    ],
)
def test_captions_that_cannot_be_read(workdirs, tmp_path, content, words):
    (tmp_path / "c.toml").write_text(content)
    with pytest.raises(RunError, match=f"--captions=.*c.toml {words}"):
        write_report(workdirs[:1], tmp_path / "r.html", REPLICATES, captions=tmp_path / "c.toml")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(chosen=["bone"]), "--tables=bone is none of the report's tables; they are: runs, ram-phantom-summary, "),
        (dict(baseline="best"), "--baseline=best is none of the systems; name one of: seed0 and 1 more seed, better"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(workdirs, tmp_path, options, words):
    with pytest.raises(RunError, match=words):
        write_report(workdirs, tmp_path / "r.html", REPLICATES, **options)


@pytest.mark.parametrize("name", ["r.html", "cases.parquet", "tables.csv", "tables.tex"])
def test_a_report_replaces_only_reports(workdirs, tmp_path, name):
    write_report(workdirs[:1], tmp_path / "r.html", REPLICATES)
    write_report(workdirs[:1], tmp_path / "r.html", REPLICATES)
    (tmp_path / ".ramjax.jsonl").unlink()  # as an older version left it
    write_report(workdirs[:1], tmp_path / "r.html", REPLICATES)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=f"would replace .*{name}, which no report wrote or which was changed"):
        write_report(workdirs[:1], tmp_path / "r.html", REPLICATES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / name).write_bytes(b"mine")
    with pytest.raises(RunError, match="would replace"):
        write_report(workdirs[:1], tmp_path / "else" / "r.html", REPLICATES)
    assert [path.name for path in (tmp_path / "else").iterdir()] == [name]


def test_names_of_runs_are_text_in_every_table(workdirs, tmp_path):
    write_report(workdirs[:1], tmp_path / "r.html", REPLICATES, names=["=1+1\x1b[2J\udcf6"])
    rows = csv_text.read((tmp_path / "tables.csv").read_text())
    assert "=1+1\\x1b[2J\\xf6" in rows[1] and "'=1+1" in (tmp_path / "tables.csv").read_text()
    for path in (tmp_path / "r.html", tmp_path / "tables.tex"):
        assert "\x1b" not in path.read_text()


def test_sections_that_are_left_with_nothing_go_and_others_stay():
    def table(id):
        return Table(id, id, "", "", ("A",), (Row("r", (Cell(1.0),)),))

    sections = (
        Section("one", "One", ("Words.",), (table("set-x"), Folded("More", (table("set-y"),)))),
        Section("two", "Two", ("Words.",), (table("set-z"),)),
        Section("three", "Three", sections=(Section("four", "Four", (), (table("other-x"),)),)),
        Section("words", "Words", ("Only words.",)),
    )
    assert tables.choose(sections, [], ["set"]) == sections
    assert [s.id for s in tables.choose(sections, ["x"], ["set"])] == ["one", "words"]
    assert [s.id for s in tables.choose(sections, ["other-x"], ["set"])] == ["three", "words"]
    (one, *_) = tables.choose(sections, ["y"], ["set"])
    assert one.blocks == (Folded("More", (table("set-y"),)),)
