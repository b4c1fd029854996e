"""What the tables say, counted again from the rows of cases.parquet, without the code that made them."""

import functools
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from ramjax import anatomy
from ramjax.metrics import cases as cases_lib
from ramjax.metrics import statistics
from tests.reporting import pages
from tests.reporting.conftest import REPLICATES


@functools.cache
def rows_of(folder, run="a"):
    return [row for row in pq.read_table(folder / "cases.parquet").to_pylist() if row["run"] == run]


def by_case(rows, task, metric, mode, parts=None):
    """Finite values of each case, by its id."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if (row["task"], row["metric"]) == (task, metric) and (parts is None or row["part"] in parts):
            found.setdefault(row["id"], []).append(row[mode])
    return {key: [value for value in of if value is not None and math.isfinite(value)] for key, of in found.items()}


def means(of):
    return np.array([sum(values) / len(values) for values in of.values() if values])


def assert_mean(line, expected):
    assert float(line["value"]) == pytest.approx(expected.mean(), abs=1e-12)
    assert float(line["sd"]) == pytest.approx(expected.std(ddof=1), abs=1e-12)
    assert int(line["n"]) == len(expected)


@pytest.mark.parametrize("metric", ["dsc", "nsd", "voe", "msd"])
@pytest.mark.parametrize("mode", ["strict", "compat"])
def test_bones_are_means_over_bones_then_cases(single, metric, mode):
    parts = [bone for bone in anatomy.BONES if bone != "SoftTissue"] if mode == "strict" else anatomy.BONES
    expected = means(by_case(rows_of(single), "bones", metric, mode, parts))
    column = {"dsc": "DSC", "nsd": "NSD", "voe": "VOE", "msd": "MSD (px)"}[metric]
    assert_mean(pages.values(single / "tables.csv")["ram-phantom-bones", "a", mode, column], expected)


def test_overlaps_are_means_over_pairs(single):
    line = pages.values(single / "tables.csv")["ram-phantom-bones", "a", "strict", "DSCO"]
    assert_mean(line, means(by_case(rows_of(single), "pairs", "dsc", "strict")))


def test_groups_of_bones_and_failures(single):
    rows, values = rows_of(single), pages.values(single / "tables.csv")
    for group, parts in {
        "phalanges": [bone for bone in anatomy.BONES if bone[0] in "PDM" and bone[1] == "P"],
        "14 wrist bones": anatomy.WRIST_BONES,
        "30 channels": anatomy.BONES,
    }.items():
        line = values["ram-phantom-bone-groups", f"a: {group}", "strict", "DSC"]
        assert_mean(line, means(by_case(rows, "bones", "dsc", "strict", parts)))
    missed = [v for of in by_case(rows, "bones", "missed", "strict").values() for v in of]
    line = values["ram-phantom-bone-failures", "a", "strict", "Missed"]
    assert (float(line["value"]), int(line["n"])) == (pytest.approx(np.mean(missed)), len(missed))
    assert 0 < np.mean(missed) < 0.1


def test_the_finite_distances_of_a_wrist_count_in_compat(wrists):
    found = by_case(rows_of(wrists, "wrists"), "bones", "msd", "compat", anatomy.WRIST_BONES)
    assert any(len(values) < 14 for values in found.values())  # of a missed bone it is infinite
    means = np.array([np.mean(values) for values in found.values() if len(values)])
    assert_mean(pages.values(wrists / "tables.csv")["ram-w600-bones", "wrists", "compat", "MSD (px)"], means)


def test_groups_of_bones_that_a_wrist_does_not_tell_apart_are_one(wrists):
    shown = pages.tables((wrists / "report.html").read_text())["ram-w600-bone-groups"]
    assert [row[0] for row in shown[1:]] == ["wrists: 14 wrist bones"]


@pytest.mark.parametrize("mode", ["strict", "compat"])
def test_erosions_of_both_variants(single, mode):
    rows, values = rows_of(single), pages.values(single / "tables.csv")
    for title, parts in {"3 labels": anatomy.EROSION_LABELS[1:], "SvdH-BE-90 only": ["SvdH-BE-90"]}.items():
        for metric, column in {"dsc": "DSC", "rec": "REC", "prec": "PREC", "nsd": "NSD"}.items():
            expected = means(by_case(rows, "erosions", metric, mode, parts))
            assert_mean(values["ram-phantom-erosions", f"a: {title}", mode, column], expected)


def test_lesions_and_clean_hands(single):
    rows, values = rows_of(single), pages.values(single / "tables.csv")

    def of(metric):
        return np.array([v[0] for v in by_case(rows, "erosions", metric, "strict", ["any"]).values()])

    annotated, predicted = of("lesions_annotated"), of("lesions_predicted")
    f1 = 2 * of("matched_distance").sum() / (annotated.sum() + predicted.sum())
    line = values["ram-phantom-lesions", "a: any lesion", "strict", "F1 2 mm"]
    assert (float(line["value"]), int(line["n"])) == (pytest.approx(f1), annotated.sum())
    clean = of("annotated_px") == 0
    line = values["ram-phantom-erosion-areas", "a: any lesion", "strict", "Specificity"]
    assert float(line["value"]) == pytest.approx(np.mean(of("predicted_px")[clean] == 0))
    assert int(line["n"]) == clean.sum()
    line = values["ram-phantom-erosion-areas", "a: any lesion", "strict", "False area (mm²)"]
    assert float(line["value"]) == pytest.approx(of("predicted_mm2")[clean].mean())


def kappa(pred, target, scale):
    """Quadratic weighted kappa from the pairs themselves: mean cost of the pairs over that of all combinations."""
    place = {score: index for index, score in enumerate(scale)}
    pred, target = np.array([place[p] for p in pred]), np.array([place[t] for t in target])
    return 1 - ((pred - target) ** 2).mean() / (np.subtract.outer(pred, target) ** 2).mean()


@pytest.mark.parametrize(("scale", "top"), [("be", 5), ("jsn", 4)])
def test_scores_pool_all_sites(single, scale, top):
    rows, values = rows_of(single), pages.values(single / "tables.csv")

    def of(metric):
        return np.array([v for found in by_case(rows, scale, metric, "strict").values() for v in found]).astype(int)

    pred, target = of("predicted"), of("annotated")
    expected = {
        "QWK": kappa(pred, target, range(top + 1)),
        "MAE": np.abs(pred - target).mean(),
        "ACC": (pred == target).mean(),
        "BACC": np.mean([(pred[target == score] == score).mean() for score in set(target)]),
        "W1-ACC": (np.abs(pred - target) <= 1).mean(),
        "P/N-ACC": ((pred > 0) == (target > 0)).mean(),
        "P/N-SEN": (pred[target > 0] > 0).mean(),
    }
    for column, value in expected.items():
        line = values[f"ram-phantom-{scale}", "a", "strict", column]
        assert (float(line["value"]), int(line["n"])) == (pytest.approx(value), len(pred)), column
    compat = kappa(pred, target, sorted({*pred, *target}))
    assert float(values[f"ram-phantom-{scale}", "a", "compat", "QWK"]["value"]) == pytest.approx(compat)
    for score in range(top + 1):
        for guess in range(top + 1):
            table = f"ram-phantom-{scale}-confusion-table-system-1"
            line = values[table, f"annotated {score}", "", f"predicted {guess}"]
            assert float(line["value"]) == ((target == score) & (pred == guess)).sum()


def test_totals_of_hands(single):
    rows, values = rows_of(single), pages.values(single / "tables.csv")
    pred = np.array([sum(v) for v in by_case(rows, "be", "predicted", "strict").values()])
    target = np.array([sum(v) for v in by_case(rows, "be", "annotated", "strict").values()])
    line = values["ram-phantom-be-totals", "a: hands", "strict", "RMSE"]
    assert (float(line["value"]), int(line["n"])) == (pytest.approx(np.sqrt(((pred - target) ** 2).mean())), 24)
    assert float(values["ram-phantom-be-totals", "a: hands", "strict", "Bias"]["value"]) == pytest.approx(
        (pred - target).mean()
    )


def test_joint_sites(single):
    rows = rows_of(single)
    present = np.array([v[0] for v in by_site(rows, "present")])
    iou = np.array([v[0] if v else np.nan for v in by_site(rows, "iou")])
    line = pages.values(single / "tables.csv")["ram-phantom-joints", "a", "strict", "Recall IoU 0.5"]
    assert (float(line["value"]), int(line["n"])) == (pytest.approx((iou[present == 1] >= 0.5).mean()), present.sum())


def by_site(rows, metric):
    of = [(row["id"], row["part"], row["strict"]) for row in rows if (row["task"], row["metric"]) == ("joints", metric)]
    return [[value] if value is not None and math.isfinite(value) else [] for _, _, value in sorted(of, key=str)]


def test_centres_are_the_cases_of_each(single):
    rows = [row for row in rows_of(single) if row["center"] == "Sapporo"]
    parts = [bone for bone in anatomy.BONES if bone != "SoftTissue"]
    expected = means(by_case(rows, "bones", "dsc", "strict", parts))
    line = pages.values(single / "tables.csv")["ram-phantom-by-center", "a: Sapporo", "strict", "Bones, DSC"]
    assert (float(line["value"]), int(line["n"])) == (pytest.approx(expected.mean()), len(expected))


def test_intervals_come_from_drawing_patients(single):
    rows = rows_of(single)
    parts = [bone for bone in anatomy.BONES if bone != "SoftTissue"]
    found = by_case(rows, "bones", "dsc", "strict", parts)
    patients = {row["id"]: row["patient"] for row in rows}
    expected = statistics.bootstrap(means(found), np.mean, [patients[key] for key in found], replicates=REPLICATES)
    line = pages.values(single / "tables.csv")["ram-phantom-summary", "Bones, DSC", "strict", "a"]
    assert (float(line["low"]), float(line["high"])) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert float(line["low"]) < float(line["value"]) < float(line["high"])


def test_seeds_are_pooled_and_shown_apart(several):
    values = pages.values(several / "tables.csv")
    parts = [bone for bone in anatomy.BONES if bone != "SoftTissue"]
    each = [means(by_case(rows_of(several, run), "bones", "dsc", "strict", parts)).mean() for run in ("a", "b")]
    pooled = values["ram-phantom-bones", "a and 1 more seed", "strict", "DSC"]
    assert float(pooled["value"]) == pytest.approx(np.mean(each)) and int(pooled["n"]) == 24
    shown = values["ram-phantom-system-1-seeds", "Bones, DSC", "strict", "Mean ± SD over seeds"]
    assert float(shown["value"]) == pytest.approx(np.mean(each)) and int(shown["n"]) == 2
    assert float(shown["sd"]) == pytest.approx(np.std(each, ddof=1))
    assert not any(key[1] == "b" for key in values if key[0] == "ram-phantom-bones")


def test_differences_are_of_the_cases_that_both_have(several):
    parts = [bone for bone in anatomy.BONES if bone != "SoftTissue"]
    found = {run: by_case(rows_of(several, run), "bones", "dsc", "strict", parts) for run in ("a", "b", "worse")}
    assert len(found["worse"]) == 20 and len(found["a"]) == 24
    mean = {run: np.mean([np.mean(of[key]) for key in found["worse"]]) for run, of in found.items()}
    expected = mean["worse"] - (mean["a"] + mean["b"]) / 2
    values = pages.values(several / "tables.csv")
    line = values["ram-phantom-compare-1", "Bones, DSC", "strict", "Difference"]
    assert float(line["value"]) == pytest.approx(expected) and int(line["n"]) == 20
    assert float(line["low"]) < expected < float(line["high"]) < 0
    p_value = float(values["ram-phantom-compare-1", "Bones, DSC", "strict", "p-value"]["value"])
    assert p_value == pytest.approx(2 / (REPLICATES + 1))
    assert "On the 20 cases of Synthetic hands that both have" in (several / "report.html").read_text()


def test_all_cases_are_beside_the_page(runs, several):
    rows = pq.read_table(several / "cases.parquet")
    assert set(rows["run"].to_pylist()) == {"a", "b", "worse"}
    one = rows.filter(np.array(rows["run"].to_pylist()) == "worse").drop_columns("run")
    alone = cases_lib.table(cases_lib.read(runs / "worse" / "cases.parquet"))
    assert one.num_rows == alone.num_rows and one.column_names == alone.column_names
    for name in ("id", "task", "metric", "part"):
        assert one[name].to_pylist() == alone[name].to_pylist()
    np.testing.assert_array_equal(one["strict"].to_numpy(), alone["strict"].to_numpy())


def test_published_rows_stand_beside_the_same_wrists_only(wrists, single):
    values, text = pages.values(wrists / "tables.csv"), (wrists / "report.html").read_text()
    line = values["ram-w600-bones", "SwinUMamba", "compat", "DSC"]
    assert line["value"] == "0.9775" and line["source"] == "published, arXiv 2507.05193" and line["n"] == ""
    assert float(values["ram-w600-be-presence", "EfficientFormer", "compat", "SEN"]["value"]) == 0.279
    shown = {row[0]: row for row in pages.tables(text)["ram-w600-bones"]}
    assert shown["SwinUMamba"][1:4] == ["compat", "0.9775", "0.9071"] and shown["TransUNet"][7] == "1.05"
    assert not any(line["source"] for line in pages.values(single / "tables.csv").values())
    assert "These are synthetic hands: no published result is of them." in (single / "report.html").read_text()


def test_a_task_that_is_absent_has_no_section(wrists):
    text = (wrists / "report.html").read_text()
    assert 'id="ram-w600-be"' in text and "Joint space narrowing" not in text
    assert "Erosions" not in pages.tables(text) and 'id="ram-w600-erosions"' not in text
    assert 'id="cases"' not in text  # it has no pictures


@pytest.mark.parametrize("name", ["single", "several", "wrists"])
def test_page_csv_and_latex_say_the_same(name, request):
    folder = request.getfixturevalue(name)
    text, latex = (folder / "report.html").read_text(), (folder / "tables.tex").read_text()
    values, shown = pages.values(folder / "tables.csv"), pages.tables(text)
    assert list(shown) == list(dict.fromkeys(key[0] for key in values))
    for table, (heading, *rows) in shown.items():
        lines = [line for key, line in values.items() if key[0] == table]
        skip = 2 if "Evaluator" in heading else 1
        cells = [
            (row[0], column, cell) for row in rows for column, cell in zip(heading[skip:], row[skip:], strict=True)
        ]
        assert [(line["row"], line["column"]) for line in lines] == [cell[:2] for cell in cells]
        for line, (_, _, cell) in zip(lines, cells, strict=True):
            number = cell.split(" ± ")[0].replace("−", "-")
            if line["value"] and not line["text"]:
                assert float(number) == pytest.approx(
                    float(line["value"]), abs=0.6 * 10 ** -len(number.partition(".")[2])
                )
            else:
                assert cell == (line["text"] or "–")
        body = latex.partition(rf"\label{{tab:{table}}}")[2].partition(r"\end{table}")[0]
        assert body.count(r" \\") == len(rows) + 1
        first = cells[0][2].replace("−", "$-$").replace("±", r"$\pm$").replace("–", "--")
        assert first in body or lines[0]["text"]
