"""The report as one self-contained HTML page: it loads nothing from elsewhere."""

import itertools
import pathlib
from collections.abc import Sequence

import jinja2
import markupsafe

from ramjax.figures import charts, content
from ramjax.notice import NOTE
from ramjax.reporting import galleries

_FOLDER = pathlib.Path(__file__).parent


def render(title: str, sections: Sequence[content.Section]) -> str:
    """Returns the page as HTML; the same sections give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["groupby_kind"] = _grouped
    environment.filters["svg"] = _svg
    environment.filters["data_uri"] = galleries.data_uri
    style = markupsafe.Markup((_FOLDER / "page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html.jinja").render(title=title, sections=sections, note=NOTE, style=style)


def _grouped(blocks: Sequence[content.Block]) -> list[tuple[bool, list[content.Block]]]:
    """Neighbouring blocks together, whether they are charts, which stand side by side, or not."""
    return [
        (charted, list(group)) for charted, group in itertools.groupby(blocks, lambda it: isinstance(it, content.Chart))
    ]


def _svg(chart: content.Chart) -> markupsafe.Markup:
    """The drawing with its description, and ids that no other has."""
    svg = charts.unique_ids(chart.svg, chart.id)
    label = markupsafe.escape(chart.alt)
    return markupsafe.Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
