"""Charts as SVG for an HTML page: real text in the font of the page, and colours that follow its light or dark theme.

Each function takes plain arrays and returns an ``<svg>`` element; the same input gives the same bytes. Charts are as
wide as a page on a phone, so that they can be read there.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SERIES: tuple[str, ...] = ("#010301", "#010302", "#010303", "#010304", "#010305", "#010306")
"""Of the series; like the ink they stand for colours that the page has for its light and its dark ground."""

WIDTH = 5.0  # inches: 360 points
_INK, _LINE = "#010203", "#040506"  # stand for the page's own colours, which are not known here
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "ramjax", "font.size": 11, "axes.labelsize": 11,
    "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _LINE, "xtick.color": _LINE, "ytick.color": _LINE,
    "xtick.labelcolor": _INK, "ytick.labelcolor": _INK, "grid.color": _LINE, "grid.linewidth": 0.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False, "legend.fontsize": 10.5,
    "lines.linewidth": 1.6, "axes.unicode_minus": True, "figure.dpi": 72,
}  # fmt: skip
_LEGEND = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "borderaxespad": 0.2, "handlelength": 1.2}


def dots(labels: Sequence[str], series: Mapping[str, np.ndarray], xlabel: str, cases: np.ndarray | None = None) -> str:
    """A line a label, from top to bottom: each series' value as a dot with its interval.

    Args:
      labels: K of them.
      series: arrays (K, 3) by name: value, low, high; NaN where there is none.
      xlabel: of the values.
      cases: (N, K) values of single cases. If given, bars behind show their middle 50 % and 90 %.
    """

    def draw(ax: Axes) -> None:
        y = np.arange(len(labels), dtype=float)
        if cases is not None:
            ends = np.array([np.nanquantile(column, [0.05, 0.25, 0.75, 0.95]) for column in cases.T])
            for left, right in ((0, 3), (1, 2)):
                ax.barh(
                    y, ends[:, right] - ends[:, left], 0.62, ends[:, left], color=SERIES[0], alpha=0.18, linewidth=0
                )
        for index, (name, values) in enumerate(series.items()):
            shift = (index - (len(series) - 1) / 2) * min(0.7 / len(series), 0.22)
            colour = SERIES[index % len(SERIES)]
            ax.hlines(y + shift, values[:, 1], values[:, 2], color=colour, linewidth=1.4)
            ax.plot(values[:, 0], y + shift, "o", ms=4, color=colour, label=name)
        ax.set_yticks(y, labels)
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.set_xlabel(xlabel)
        ax.grid(axis="x")
        ax.tick_params(length=0)
        _legend(ax, len(series))

    return _svg(draw, 0.9 + len(labels) * max(0.22, 0.12 + 0.1 * len(series)))


def differences(labels: Sequence[str], values: np.ndarray, marked: np.ndarray) -> str:
    """A line a label, from top to bottom: a difference as a dot with its interval, about a line at 0.

    Args:
      labels: K of them.
      values: (K, 3): difference, low, high; NaN where there is none.
      marked: bool (K,): which dots are filled.
    """

    def draw(ax: Axes) -> None:
        y = np.arange(len(labels), dtype=float)
        ax.axvline(0, color=_INK, linewidth=0.8)
        ax.hlines(y, values[:, 1], values[:, 2], color=SERIES[0], linewidth=1.4)
        for which, face in ((marked, SERIES[0]), (~marked, "none")):
            ax.plot(values[which, 0], y[which], "o", ms=5, color=SERIES[0], mfc=face, mew=1.4)
        ax.set_yticks(y, labels)
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        ax.grid(axis="x")
        ax.tick_params(length=0)

    return _svg(draw, 0.5 + 0.28 * len(labels))


def heat_map(counts: np.ndarray, labels: Sequence[str] | None = None) -> str:
    """A confusion matrix (C, C): counts as text, shaded by their share of the row (annotated).

    Args:
      counts: annotated by predicted.
      labels: of the classes; None numbers them from 0.
    """

    def draw(ax: Axes) -> None:
        size = len(counts)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        for i in range(size):
            for j in range(size):
                face = {"facecolor": SERIES[0], "alpha": 0.06 + 0.64 * float(shares[i, j])}
                ax.add_patch(mpl.patches.Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, linewidth=0, **face))
                ax.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=11)
        ax.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="predicted", ylabel="annotated")
        ax.set_xticks(range(size), labels)
        ax.set_yticks(range(size), labels)
        ax.set_aspect("equal")
        ax.tick_params(length=0, pad=5)
        ax.spines[:].set_visible(False)

    return _svg(draw, 4.4)


def signed_map(
    values: np.ndarray, labels: Sequence[str], xlabel: str = "", ylabel: str = "", rows: Sequence[str] = ()
) -> str:
    """A matrix (n, m) of signed values as text, in one colour above 0 and another below; NaN stays empty.

    Args:
      values: row by column; shaded by their size relative to the largest, off the diagonal if it has one.
      labels: of the columns, and of the rows where these have none of their own.
      xlabel, ylabel: what columns and rows are.
      rows: the labels of the rows.
    """

    def draw(ax: Axes) -> None:
        height, width = values.shape
        apart = np.abs(values[~np.eye(height, dtype=bool)] if not rows else values)
        largest = max(float(np.nanmax(apart, initial=0.0)), 1e-12)
        for i, j in np.argwhere(np.isfinite(values)):
            alpha = 0.06 + 0.64 * min(abs(values[i, j]) / largest, 1)
            face = {"facecolor": SERIES[0] if values[i, j] >= 0 else SERIES[1], "alpha": alpha}
            ax.add_patch(mpl.patches.Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, linewidth=0, **face))
            text = f"{values[i, j]:+.2f}".replace("-", "−")
            ax.text(j, i, text, ha="center", va="center", fontsize=8 if rows else 11)
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xlabel=xlabel, ylabel=ylabel)
        ax.set_xticks(range(width), labels)
        ax.set_yticks(range(height), rows or labels)
        ax.tick_params(length=0, pad=5)
        ax.spines[:].set_visible(False)

    return _svg(draw, 0.9 + (0.22 if rows else 0.55) * len(values))


def small_lines(series: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str) -> str:
    """A small chart for each curve, by name (x, y), all on the same scales, with a line at 0."""
    columns = 3 if len(series) > 4 else 2
    rows = -(-len(series) // columns)

    def draw(first: Axes) -> None:
        figure = first.figure
        first.remove()
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for ax in axes.flat[len(series) :]:
            ax.set_visible(False)
        for ax, (name, (x, y)) in zip(axes.flat, series.items(), strict=False):
            ax.axhline(0, color=_LINE, linewidth=0.8)
            ax.plot(x, y, color=SERIES[0], linewidth=1.2, marker="o" if len(x) <= 20 else "", ms=2.4)
            ax.set_title(name, fontsize=10, color=_INK)
            ax.tick_params(labelsize=9)
        for ax in axes[-1]:
            ax.set_xlabel(xlabel, fontsize=10)

    return _svg(draw, 0.5 + 1.15 * rows)


def bland_altman(mean: np.ndarray, difference: np.ndarray, bias: float, low: float, high: float) -> str:
    """Differences over means (Bland & Altman 1986), with bias and limits of agreement."""

    def draw(ax: Axes) -> None:
        ax.plot(mean, difference, "o", ms=4, color=SERIES[0], alpha=0.5, mew=0)
        ax.margins(x=0.08)
        for value, name, style in ((bias, "bias", "-"), (low, "lower limit", "--"), (high, "upper limit", "--")):
            if np.isfinite(value):
                ax.axhline(value, color=SERIES[1], linestyle=style, linewidth=1.2)
                label = f"{name} {value:+.1f}".replace("-", "−")
                ax.annotate(
                    label, (1, value), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                    ha="right", fontsize=10.5,
                )  # fmt: skip
        ax.axhline(0, color=_LINE, linewidth=0.8)
        ax.set(xlabel="mean of predicted and annotated total", ylabel="predicted − annotated")

    return _svg(draw, 3.4)


def reliability(series: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> str:
    """Accuracy over confidence, by name (confidence, accuracy, count) of the bins; a dot's area tells the count."""

    def draw(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=_LINE, linewidth=1, linestyle="--")
        for index, (name, (confidence, accuracy, count)) in enumerate(series.items()):
            filled = count > 0
            colour = SERIES[index % len(SERIES)]
            sizes = 10 + 90 * count[filled] / max(count.max(), 1)
            ax.plot(confidence[filled], accuracy[filled], color=colour, label=name)
            ax.scatter(confidence[filled], accuracy[filled], sizes, color=colour, alpha=0.7, linewidths=0)
        ax.set(
            xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability of the likeliest score", ylabel="share that is right"
        )
        ax.set_aspect("equal")
        ax.grid()
        _legend(ax, len(series))

    return _svg(draw, 4.2)


def lines(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str = "", *, log: bool = False
) -> str:
    """Curves, by name (x, y); NaN leaves a gap."""

    def draw(ax: Axes) -> None:
        for index, (name, (x, y)) in enumerate(series.items()):
            marker = "o" if len(x) <= 40 else ""
            ax.plot(x, y, color=SERIES[index % len(SERIES)], marker=marker, ms=2.6, linewidth=1.3, label=name)
        if log and all(np.nanmin(y, initial=np.inf) > 0 for _, y in series.values()):
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(_plain)
            ax.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid()
        _legend(ax, len(series))

    return _svg(draw, 2.7)


def by_score(series: Mapping[str, np.ndarray], xlabel: str, ylabel: str, *, diagonal: bool = False) -> str:
    """Values over the annotated score: by name (C, 3) of value, low, high; with the line of agreement if `diagonal`."""

    def draw(ax: Axes) -> None:
        count = len(next(iter(series.values())))
        if diagonal:
            ax.plot([0, count - 1], [0, count - 1], color=_LINE, linestyle="--", linewidth=1)
        for index, (name, values) in enumerate(series.items()):
            colour = SERIES[index % len(SERIES)]
            x = np.arange(count) + (index - (len(series) - 1) / 2) * min(0.5 / len(series), 0.14)
            ax.vlines(x, values[:, 1], values[:, 2], color=colour, linewidth=1.4)
            ax.plot(x, values[:, 0], "o-", ms=4, linewidth=1, color=colour, label=name)
        ax.set_xticks(range(count))
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.5, count - 0.5))
        ax.grid(axis="y")
        _legend(ax, len(series))

    return _svg(draw, 3.0)


def scatter(
    x: np.ndarray, y: np.ndarray, xlabel: str, ylabel: str, *, log: bool = False, diagonal: bool = False
) -> str:
    """Dots.

    Args:
      x, y: of the dots.
      xlabel, ylabel: what they are.
      log: both scales from 0 on, linear up to 1.
      diagonal: draws the line of agreement, from the lowest value to the highest; from 0 if `log`.
    """

    def draw(ax: Axes) -> None:
        ax.plot(x, y, "o", ms=4, color=SERIES[0], alpha=0.5, mew=0)
        if log:
            ax.set_xscale("symlog", linthresh=1)
            ax.xaxis.set_major_formatter(_plain)
        if diagonal:
            ends = [0.0, float(np.nanmax([x, y], initial=1.0))] if log else [np.nanmin([x, y]), np.nanmax([x, y])]
            ax.plot(ends, ends, color=_LINE, linestyle="--", linewidth=1)
            if log:
                ax.set_yscale("symlog", linthresh=1)
                ax.yaxis.set_major_formatter(_plain)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid()

    return _svg(draw, 3.2)


def unique_ids(svg: str, prefix: str) -> str:
    """The drawing with `prefix` before every id, so that several can stand in one page."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    return re.sub(r'href="#', f'href="#{prefix}-', svg)


def _plain(value: float, _: int) -> str:
    return f"{value:g}"


def _legend(ax: Axes, count: int) -> None:
    if count > 1:
        ax.legend(**_LEGEND)


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure((WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _fit_for_page(text.getvalue())


def _fit_for_page(svg: str) -> str:
    """Drops the file's head and size, takes the page's font and colours, and makes ids unique to this drawing."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>\s*", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'(<svg [^>]*?)\bheight="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)\bwidth="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"xmlns:xlink=\"[^\"]*\"|version=\"[^\"]*\"", "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", svg)
    svg = svg.replace(_INK, "currentColor").replace(_LINE, "var(--line)")
    for number, colour in enumerate(SERIES, 1):
        svg = svg.replace(colour, f"var(--series-{number})")
    svg = re.sub(r'(<g|<path|<text) id="[a-z]+[\w.]*_\d+"', r"\1", svg)
    svg = re.sub(r"<[^>]*>", _rounded, svg)
    return re.sub(r"\s*\n\s*", " ", svg).strip()


def _rounded(tag: re.Match[str]) -> str:
    """A tag with its coordinates to a hundredth of a point."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])
