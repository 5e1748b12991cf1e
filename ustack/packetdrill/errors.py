"""What can go wrong with a script before, beside and during its run."""

from __future__ import annotations


class ScriptError(Exception):
    """The script cannot be read: where, and what was expected there. Lines and columns count from 1."""

    def __init__(self, message: str, line: int, column: int, *, path: str = "", source: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.path = path
        self.source = source
        """The whole line of the script, for the caret under it."""

    def __str__(self) -> str:
        text = f"{self.path or 'script'}:{self.line}:{self.column}: {self.message}"
        if self.source:
            shown = self.source.replace("\t", " ")
            text += f"\n    {shown}\n    {' ' * (self.column - 1)}^"
        return text


class Unsupported(Exception):  # noqa: N818 - the verdict's own name: it is no error of the script or of the stack
    """The script asks for something that is not offered; ``name`` is what."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"unsupported: {name}")
        self.name = name
        self.hint = hint
        """What the author may have meant: ``"did you mean TCP_NODELAY?"``, or nothing."""


class Mismatch(Exception):  # noqa: N818 - likewise a verdict
    """What came is not what the script says. ``differences`` are (field, expected, got), ``hints`` likely remedies."""

    def __init__(
        self, summary: str, differences: list[tuple[str, str, str]] | None = None, hints: list[str] | None = None
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.differences = differences or []
        self.hints = hints or []
