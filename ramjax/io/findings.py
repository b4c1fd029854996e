"""A defect of somebody's files that does not stop their reading."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """A defect: a sentence that says what, and the file, the cell or the record."""

    what: str
    where: str
