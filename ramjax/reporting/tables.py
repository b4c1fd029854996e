"""Choosing the tables of a report, and changing their titles and captions."""

import dataclasses
import fnmatch
import json
import pathlib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence

from ramjax.errors import RunError
from ramjax.figures.content import Block, Folded, Section, Table, tables_of

HEAD = """\
# Titles and captions of the tables of a report, by the id of the table.
# Remove the leading # of the lines that you change and of the [id] above them; then start the same command again.
"""


def choose(sections: Sequence[Section], patterns: Sequence[str], datasets: Iterable[str]) -> tuple[Section, ...]:
    """Returns the sections with the tables that match a pattern; all tables if there is no pattern.

    Sections that are left with nothing are left out; charts and pictures stay.

    Args:
      sections: of a report.
      patterns: ids of tables, ``*`` for any letters, with or without the data set that they begin with.
      datasets: beginnings of ids, such as ``ram-phantom``.

    Raises:
      RunError: no table is meant by one of the patterns.
    """
    if not patterns:
        return tuple(sections)
    prefixes = ["", *(f"{dataset}-" for dataset in datasets)]
    ids = [table.id for table in tables_of(tuple(sections))]

    def meant(pattern: str, id: str) -> bool:
        return any(fnmatch.fnmatchcase(id, prefix + pattern) for prefix in prefixes)

    for pattern in patterns:
        if not any(meant(pattern, id) for id in ids):
            raise RunError(f"--tables={pattern} is none of the report's tables; they are: {', '.join(ids)}.")
    return _changed(sections, lambda table: table if any(meant(pattern, table.id) for pattern in patterns) else None)


def retitle(sections: Sequence[Section], captions: Mapping[str, Mapping[str, str]]) -> tuple[Section, ...]:
    """The sections, their tables with other titles and captions: ``title`` and ``caption`` by the table's id."""
    return _changed(sections, lambda table: dataclasses.replace(table, **captions.get(table.id, {})))


def to_captions(tables: Sequence[Table]) -> str:
    """A TOML file of the titles and captions of all tables, each commented out."""
    text = [HEAD]
    for table in tables:
        entries = {"title": table.title, "caption": table.caption}
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
        text.append("\n".join(f"# {line}" for line in [f"[{table.id}]", *lines]) + "\n")
    return "\n".join(text)


def read_captions(path: pathlib.Path) -> dict[str, dict[str, str]]:
    """Titles and captions by the table's id; raises RunError where the file is no such."""
    try:
        captions = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"--captions={path} cannot be read ({error}); mend it or name a new file.") from error
    for id, entry in captions.items():
        if not isinstance(entry, dict):
            raise RunError(f"--captions={path} has {id} outside a table; remove the # of the line [ID] above it, too.")
        for key, value in entry.items():
            if key not in ("title", "caption") or not isinstance(value, str):
                raise RunError(f'--captions={path} has {id}.{key} = {value!r}; write title = "..." or caption = "...".')
    return captions


def _changed(sections: Sequence[Section], change: Callable[[Table], Table | None]) -> tuple[Section, ...]:
    """The sections with every table changed, or left out where it becomes None."""

    def block(it: Block) -> Block | None:
        return change(it) if isinstance(it, Table) else it

    changed = []
    for section in sections:
        blocks: list[Block | Folded] = []
        for it in section.blocks:
            if isinstance(it, Folded):
                inner = tuple(kept for one in it.blocks if (kept := block(one)) is not None)
                blocks += [dataclasses.replace(it, blocks=inner)] if inner else []
            elif (kept := block(it)) is not None:
                blocks.append(kept)
        inside = _changed(section.sections, change)
        if blocks or inside or not (section.blocks or section.sections):
            changed.append(dataclasses.replace(section, blocks=tuple(blocks), sections=inside))
    return tuple(changed)
