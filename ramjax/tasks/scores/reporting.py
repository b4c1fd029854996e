"""What a report shows of scores: the papers' tables, calibration, totals, and error by site and by annotated score."""

from collections.abc import Sequence

import numpy as np

from ramjax import anatomy
from ramjax.figures import charts, layout, published
from ramjax.figures.content import Cell, Chart, Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.metrics import agreement, calibration, scoring
from ramjax.metrics.cases import MODES, Mode
from ramjax.tasks.scores import measuring

_PUBLISHED = ("qwk", "mae", "acc", "bacc", "within_1", "pn_acc", "sensitivity")
_TITLES = ("QWK", "MAE", "ACC", "BACC", "W1-ACC", "P/N-ACC", "P/N-SEN")
_PRESENCE = ("pn_bacc", "pn_f1", "dor", "sensitivity", "specificity")


def sections(several: Sequence[Evaluated]) -> list[Section]:
    """Returns a section for each scale (BE, JSN) of which one data set has scores."""
    of_scales = {
        scale: [of for of in several if of.has(scale) and of.estimate(f"scores/{scale}_mae").n]
        for scale in anatomy.SCALES
    }
    return [_section(there, scale) for scale, there in of_scales.items() if there]


def _section(several: Sequence[Evaluated], scale: str) -> Section:
    dataset, about = several[0].dataset, several[0].cases[0].about
    beside = published.other(dataset, about)
    tables = [_main_table(several, scale, beside)]
    if published.builder(dataset) == "ram_w600" and scale == "be":
        beside = published.erosion_presence(dataset, about)
        tables.append(_presence_table(several, beside))
    blocks = [
        *tables,
        _further_table(several, scale),
        _totals_table(several, scale),
        *(_confusion(of, scale) for of in several),
        *(chart for of in several for chart in (_bland_altman(of, scale),) if chart),
        _reliability(several, scale),
        _by_site(several, scale),
        *_by_score(several, scale),
        Folded("Each region and site in numbers", tuple(_sites_table(of, scale) for of in several)),
        Folded("Confusion matrices in numbers", tuple(_confusion_table(of, scale) for of in several)),
    ]
    return Section(
        layout.slug(dataset, scale),
        layout.SCALE_TITLES[scale],
        (beside.sentence,),
        tuple(block for block in blocks if block),
    )


def _main_table(several: Sequence[Evaluated], scale: str, beside: published.Published) -> Table:
    top, sites = anatomy.SCALES[scale]
    return Table(
        layout.slug(several[0].dataset, scale),
        layout.SCALE_TITLES[scale],
        f"All sites of all hands together, 0 to {top}; n is the number of sites, of {len(sites)} a hand, whose score "
        "is annotated and predicted. P/N is of scores above 0. Higher is better but for MAE. QWK of compat rows goes "
        "by the rank of the scores that occur, that of strict rows by their value.",
        "Run",
        _TITLES,
        (*_rows(several, scale, _PUBLISHED), *layout.published_rows(beside, _PUBLISHED)),
        tuple(-1 if title == "MAE" else 1 for title in _TITLES),
    )


def _presence_table(several: Sequence[Evaluated], beside: published.Published) -> Table:
    rows = _rows(several, "be", _PRESENCE)
    return Table(
        layout.slug(several[0].dataset, "be-presence"),
        "Erosion or none",
        "Score above 0 against 0, sites pooled. BACC is the mean of SEN and SPC; DOR the diagnostic odds ratio, 1 at "
        "chance.",
        "Run",
        ("BACC", "F1", "DOR", "SEN", "SPC"),
        (*rows, *layout.published_rows(beside, _PRESENCE, {"dor": 2})),
        (1, 1, 1, 1, 1),
    )


def _further_table(several: Sequence[Evaluated], scale: str) -> Table:
    names = ("specificity", "pn_bacc", "pn_f1", "dor", "f1_macro", "auroc", "ece", "brier")
    rows = []
    for of in several:
        missed = [metrics["pooled"].metrics["missed"] for metrics in _score_metrics(of, scale, "strict")]
        cells = [of.estimate(f"scores/{scale}_{name}").cell() for name in names]
        last = Cell(float(np.mean(missed)), digits=0 if len(missed) == 1 else 1)
        rows.append(Row(of.name, (*cells, last), "strict"))
    return Table(
        layout.slug(several[0].dataset, scale, "further"),
        "Beyond the published columns",
        "P/N is of scores above 0, AUROC too, by their predicted probability. ECE and the Brier score (0 to 2) are "
        "of the probabilities of all scores, lower is better. The last column counts annotated sites that got no "
        "score.",
        "Run",
        ("P/N-SPC", "P/N-BACC", "P/N-F1", "DOR", "F1 (macro)", "AUROC", "ECE", "Brier", "Not scored"),
        tuple(rows),
        (1, 1, 1, 1, 1, 1, -1, -1, -1),
    )


def _totals_table(several: Sequence[Evaluated], scale: str) -> Table:
    names = ("rmse", "mae", "bias", "limits_low", "limits_high", "icc", "pearson")
    rows = []
    for of in several:
        cells = tuple(of.estimate(f"scores/{scale}_total_{name}").cell() for name in names)
        rows.append(Row(f"{of.name}: hands", cells, "strict", contest="hands"))
        patients = [agreement.patient_totals(measuring.totals(c, scale), c.attributes["side"]) for c in of.cases]
        found = [agreement.total_agreement(totals.pred, totals.target) for totals in patients]
        values = [Cell(float(np.mean([getattr(a, name) for a in found])), n=found[0].n) for name in names]
        rows.append(Row(f"{of.name}: patients", tuple(values), "strict", contest="patients"))
    return Table(
        layout.slug(several[0].dataset, scale, "totals"),
        "Totals",
        "The sum over a hand's sites that are annotated and predicted, and over a patient's hands at a visit, in "
        "points. Bias is predicted less annotated; between the limits of agreement lie about 95 % of the differences.",
        "Run and total",
        ("RMSE", "MAE", "Bias", "Lower limit", "Upper limit", "ICC(2,1)", "Pearson r"),
        tuple(rows),
        (-1, -1, 0, 0, 0, 1, 1),
    )


def _confusion(of: Evaluated, scale: str) -> Chart:
    counts = _counts(of, scale)
    agreed = np.trace(counts) / counts.sum()
    return Chart(
        layout.slug(of.dataset, scale, "confusion", of.key),
        f"Confusion: {of.name}",
        "Sites by annotated and predicted score; the shade is the share of the row." + layout.summed_over_seeds(of),
        charts.heat_map(counts),
        f"Confusion matrix of {counts.sum():,} scores: {agreed:.0%} on the diagonal. Its numbers are in a table below.",
    )


def _confusion_table(of: Evaluated, scale: str) -> Table:
    counts = _counts(of, scale)
    rows = tuple(
        Row(f"annotated {score}", tuple(Cell(float(count), digits=0) for count in row))
        for score, row in enumerate(counts)
    )
    columns = tuple(f"predicted {score}" for score in range(len(counts)))
    title = f"Confusion: {of.name}"
    caption = "Sites by annotated and predicted score." + layout.summed_over_seeds(of)
    return Table(layout.slug(of.dataset, scale, "confusion-table", of.key), title, caption, "Score", columns, rows)


def _bland_altman(of: Evaluated, scale: str) -> Chart | None:
    totals = measuring.totals(of.cases[0], scale)
    found = agreement.total_agreement(totals.pred, totals.target)
    known = np.isfinite(totals.pred) & np.isfinite(totals.target)
    if not known.any():
        return None
    pred, target = totals.pred[known], totals.target[known]
    return Chart(
        layout.slug(of.dataset, scale, "bland-altman", of.key),
        f"Totals of hands: {of.name}",
        "Bland-Altman plot, a dot a hand, with bias and limits of agreement." + layout.of_first_seed(of),
        charts.bland_altman((pred + target) / 2, pred - target, found.bias, found.limits_low, found.limits_high),
        f"Differences of {layout.counted(len(pred), 'total')}: bias {found.bias:.2f}, limits {found.limits_low:.2f} to "
        f"{found.limits_high:.2f} points.",
    )


def _reliability(several: Sequence[Evaluated], scale: str) -> Chart | None:
    series = {}
    for of in several:
        chances = measuring.probabilities(of.cases[0], scale)
        if chances is None:
            continue
        predicted, annotated = measuring.scores(of.cases[0], scale)
        known = (predicted >= 0) & (annotated >= 0)
        bins = calibration.reliability(chances[known], annotated[known], 10)
        series[of.name] = (bins.confidence, bins.accuracy, bins.count)
    if not series:
        return None
    return Chart(
        layout.slug(several[0].dataset, scale, "reliability"),
        "Reliability",
        "How often the likeliest score is right, over its probability, in ten bins; a dot's area tells how many sites. "
        "On the dashed line probabilities mean what they say; below it the network is too sure."
        + "".join(layout.of_first_seed(of) for of in several[:1]),
        charts.reliability(series),
        "Reliability diagram; the expected calibration error in the table sums it up.",
    )


def _by_site(several: Sequence[Evaluated], scale: str) -> Chart:
    sites = [anatomy.SITE_NAMES[index] for index in anatomy.SCALES[scale][1]]
    sites = [site for site in sites if several[0].estimate(f"scores/{scale}_mae_{site}").n]
    sites.sort(key=lambda site: -several[0].estimate(f"scores/{scale}_mae_{site}").value)
    series = {
        of.name: np.array([[(e := of.estimate(f"scores/{scale}_mae_{site}")).value, e.low, e.high] for site in sites])
        for of in several
    }
    return Chart(
        layout.slug(several[0].dataset, scale, "by-site"),
        "Error by site",
        "Mean absolute error with its 95 % interval, the worst site first.",
        charts.dots(sites, series, "mean absolute error (points)"),
        f"Mean absolute error of each site, worst first: {', '.join(sites[:3])}.",
    )


def _by_score(several: Sequence[Evaluated], scale: str) -> list[Chart]:
    """What is predicted where a score is annotated, and how far off that is."""
    made = []
    scores = range(anatomy.SCALES[scale][0] + 1)
    titles = {
        "predicted": ("Predicted by annotated score", "mean predicted score", "on the line it agrees on average"),
        "mae": ("Error by annotated score", "mean absolute error (points)", "rare scores rest on few sites"),
    }
    for name, (title, label, remark) in titles.items():
        series = {
            of.name: np.array(
                [[(e := of.estimate(f"scores/{scale}_{name}_at_{score}")).value, e.low, e.high] for score in scores]
            )
            for of in several
        }
        counts = [several[0].estimate(f"scores/{scale}_mae_at_{score}").n for score in scores]
        made.append(
            Chart(
                layout.slug(several[0].dataset, scale, "by-score", name),
                title,
                f"With its 95 % interval; {remark}. Sites of each score: {', '.join(f'{n:,}' for n in counts)}.",
                charts.by_score(series, "annotated score", label, diagonal=name == "predicted"),
                f"{label.capitalize()} at each annotated score, "
                + "; ".join(
                    f"{score}: {v[0]:.2f}" for score, v in enumerate(series[several[0].name]) if np.isfinite(v[0])
                )
                + ".",
            )
        )
    return made


def _sites_table(of: Evaluated, scale: str) -> Table:
    by_mode = {mode: _score_metrics(of, scale, mode) for mode in MODES}
    rows = []
    for group in by_mode["strict"][0]:
        for mode, of_runs in by_mode.items():
            found = [metrics[group].metrics for metrics in of_runs]
            if not found[0]["n"]:
                continue
            n = round(np.mean([metrics["n"] for metrics in found]))
            names = [_of_mode(name, mode) for name in _PUBLISHED]
            rows.append(Row(group, tuple(Cell(float(np.mean([m[name] for m in found])), n=n) for name in names), mode))
    return Table(
        layout.slug(of.dataset, scale, "sites", of.key),
        f"Each region and site: {of.name}",
        "The columns of the main table. QWK is not defined where a site has one and the same score throughout.",
        "Sites",
        _TITLES,
        tuple(rows),
    )


def _rows(several: Sequence[Evaluated], scale: str, metrics: Sequence[str]) -> list[Row]:
    """A row a system and mode."""
    return [
        row
        for of in several
        for mode in MODES
        for row in layout.system_rows([of], [f"scores/{scale}_{_of_mode(m, mode)}" for m in metrics], modes=(mode,))
    ]


def _of_mode(metric: str, mode: Mode) -> str:
    """The published kappa goes by rank."""
    return "qwk_rank" if metric == "qwk" and mode == "compat" else metric


def _score_metrics(of: Evaluated, scale: str, mode: Mode) -> list[dict[str, scoring.ScoreMetrics]]:
    """Of each run."""
    return [
        scoring.score_metrics(
            *measuring.scores(cases, scale), scale=scale, mode=mode, probabilities=measuring.probabilities(cases, scale)
        )
        for cases in of.cases
    ]


def _counts(of: Evaluated, scale: str) -> np.ndarray:
    """The confusion matrix (C, C), summed over the seeds."""
    top, sites = anatomy.SCALES[scale]
    pairs = (measuring.scores(cases, scale) for cases in of.cases)
    return sum(scoring.confusion_matrices(pred[:, sites], target[:, sites], top + 1).sum(0) for pred, target in pairs)
