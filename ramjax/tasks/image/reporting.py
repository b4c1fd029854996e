"""What a report shows of a task of the image as a whole: its headlines, classes confused, numbers compared."""

from collections.abc import Mapping, Sequence

import numpy as np

from ramjax.figures import charts, layout
from ramjax.figures.content import Cell, Chart, Folded, Row, Section, Table
from ramjax.figures.estimates import Evaluated
from ramjax.figures.metric_table import headline_table
from ramjax.metrics.cases import Cases
from ramjax.metrics.metric import Headline
from ramjax.metrics.scoring import confusion_matrices
from ramjax.tasks.image.targets import Classes, Number


def sections(
    several: Sequence[Evaluated],
    task: str,
    targets: Mapping[str, Classes | Number],
    headlines: Sequence[Headline],
) -> list[Section]:
    """Returns the sections about an image-level task in one data set; no section if no target of it is known.

    Args:
      several: systems evaluated on it.
      task: its name, and that of the group of its values.
      targets: by name, in the order of the values' parts.
      headlines: of the table.
    """
    table = headline_table(several, task, headlines)
    if table is None:
        return []
    several = [of for of in several if of.has(task)]
    drawn, in_numbers = [], []
    for part, (name, target) in enumerate(targets.items()):
        for of in several:
            if isinstance(target, Number):
                drawn.append(_scatter(of, task, part, name, target))
            elif (counts := _confusion(of, task, part, len(target.names))).any():
                drawn.append(_heat_map(of, task, name, target, counts))
                in_numbers.append(_confusion_table(of, task, name, target, counts))
    folded = [Folded("Confusion matrices in numbers", tuple(in_numbers))] if in_numbers else []
    dataset = several[0].dataset
    blocks = (table, *(chart for chart in drawn if chart), *folded)
    return [Section(layout.slug(dataset, "task", task), layout.title(task), (), blocks)]


def _pairs(cases: Cases, task: str, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and annotated values of the cases that have both."""
    predicted, annotated = (cases.get(task, which)[:, part] for which in ("predicted", "annotated"))
    known = np.isfinite(predicted) & np.isfinite(annotated)
    return predicted[known], annotated[known]


def _confusion(of: Evaluated, task: str, part: int, classes: int) -> np.ndarray:
    """Annotated by predicted class, int (classes, classes), summed over the seeds."""
    pairs = [np.array(_pairs(cases, task, part), np.int64) for cases in of.cases]
    return sum(confusion_matrices(pred[:, None], target[:, None], classes).sum(0) for pred, target in pairs)


def _heat_map(of: Evaluated, task: str, name: str, target: Classes, counts: np.ndarray) -> Chart:
    agreed = np.trace(counts) / counts.sum()
    return Chart(
        layout.slug(of.dataset, task, name, "confusion", of.key),
        f"{target.title}: {of.name}",
        "Images by annotated and predicted class; the shade is the share of the row." + layout.summed_over_seeds(of),
        charts.heat_map(counts, target.names),
        f"Confusion matrix of {layout.counted(int(counts.sum()), 'image')}: {agreed:.0%} on the diagonal. Its numbers "
        "are in a table below.",
    )


def _confusion_table(of: Evaluated, task: str, name: str, target: Classes, counts: np.ndarray) -> Table:
    return Table(
        layout.slug(of.dataset, task, name, "confusion-table", of.key),
        f"{target.title}: {of.name}",
        "Images by annotated and predicted class." + layout.summed_over_seeds(of),
        target.title,
        tuple(f"predicted {label}" for label in target.names),
        tuple(
            Row(f"annotated {label}", tuple(Cell(float(count), digits=0) for count in row))
            for label, row in zip(target.names, counts, strict=True)
        ),
    )


def _scatter(of: Evaluated, task: str, part: int, name: str, target: Number) -> Chart | None:
    predicted, annotated = _pairs(of.cases[0], task, part)
    if not len(predicted):
        return None
    axes = (f"{who} ({target.unit})" for who in ("annotated", "predicted"))
    return Chart(
        layout.slug(of.dataset, task, name, "scatter", of.key),
        f"{target.title}: {of.name}",
        "A dot an image; the line is agreement." + layout.of_first_seed(of),
        charts.scatter(annotated, predicted, *axes, diagonal=True),
        f"Predicted over annotated {target.title.lower()} of {layout.counted(len(predicted), 'image')}.",
    )
