"""Makes one page for the local server, in a process of its own that may use only so much time and memory.

``python -m ustack.lab.page.worker`` reads what is asked as JSON from standard input and writes the page. A run that a
setting makes endless ends with this process, and the server goes on.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from ustack.lab import language
from ustack.lab.page.form import asked_page
from ustack.lab.page.shell import Links
from ustack.lab.page.write import index
from ustack.lab.question import load, questions

CPU_SECONDS = 20
MEMORY = 4 << 30
"""Bytes of address space."""


def bound() -> None:
    """No more time and memory than this."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def page_for(request: dict[str, Any]) -> str:
    """``question``: an id or empty for the index; ``file``: a question of the user's own; ``query``: settings."""
    language.choose(request["lang"])
    asked = questions()
    if request["file"]:
        own = load(request["file"])
        asked[own.id] = own
    links = Links("web", frozenset(asked))
    if not request["question"]:
        return index(asked.values(), links)
    return asked_page(asked[request["question"]], request["query"], links)


def main() -> None:
    """One request, one page."""
    bound()
    sys.stdout.write(page_for(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
