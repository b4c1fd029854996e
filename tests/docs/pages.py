"""What the pages tell readers to run: README.md and docs/*.md as commands and code, in order."""

import dataclasses
import pathlib
import re

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->")
"""Before a block that no test can run, and why: ``<!-- not run: needs a Slurm cluster -->``."""

_COMMAND = re.compile(r"(python -m (ramjax|benchmarks)\.\w+|python launch/\S+) \S|bash launch/\S")
"""What a command within a line of text begins with; the mere name of one is not run."""

_FILE = re.compile(r"# (\w[\w/]*\.py)\n")
"""The first line of Python code that is a file to be saved under that path."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Something that a page tells its reader to do.

    Attributes:
      page: name of the file.
      line: where it begins, from 1.
      language: ``bash`` or ``python``.
      text: the commands or the code.
      not_run: why no test can run it; None for all others, '' where the reason is missing.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def file(self) -> str | None:
        """The path to save it under; None for what is run."""
        found = _FILE.match(self.text) if self.language == "python" else None
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(text: str, page: str) -> list[Block]:
    """All ``bash`` and ``python`` blocks of a page, and the commands in its text and tables, in order."""
    blocks, reason = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        marker = NOT_RUN.match(token.content) if token.type == "html_block" else None
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence" and token.info in ("bash", "python"):
            blocks.append(Block(page, line, token.info, token.content, reason))
        for child in token.children or ():
            if child.type == "code_inline" and _COMMAND.match(child.content):
                blocks.append(Block(page, line, "bash", child.content))
        reason = marker[1] if marker else None
    return blocks
