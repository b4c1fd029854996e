"""The kinds of what the tests' networks predict."""

from ramjax.tasks.base import Kind

KINDS = {
    **dict.fromkeys(("bones", "erosions", "map", "logits", "two", "four"), Kind.DENSE),
    "boxes": Kind.BOXES,
    "confidence": Kind.CONFIDENCE,
    **dict.fromkeys(("be", "jsn"), Kind.SITE),
    "age": Kind.IMAGE,
}
