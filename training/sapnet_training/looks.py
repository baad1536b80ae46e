"""The log of looks at test sets, without which nobody can say how far they steered a recipe."""

from datetime import date

LOG = "training/test_looks.md"


def look(data: str, what: str, result: str) -> str:
    """What to print after every look: a reminder, and the line to add to the log.

    Args:
        data: the test set, and which part of it.
        what: was scored on it.
        result: the scores.
    """
    row = f"| {date.today()} | {data} | {what} | {result} | what followed? |"
    return f"if this is a test set, the look belongs in {LOG}:\n{row}"
