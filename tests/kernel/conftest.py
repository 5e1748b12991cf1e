"""The fixtures of the end-to-end tests; what they are made of is in kernel_world.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.kernel_world import Namespace, why_not

_REASON = why_not()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            if _REASON:
                item.add_marker(pytest.mark.skip(reason=_REASON))


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    space = Namespace()
    try:
        yield space
    finally:
        space.close()


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A file of so many random bytes."""
    folder = tmp_path_factory.mktemp("payload")

    def make(size: int) -> Path:
        path = folder / f"{size}.bin"
        if not path.exists():
            with path.open("wb") as file:
                for at in range(0, size, 1 << 24):
                    file.write(os.urandom(min(1 << 24, size - at)))
        return path

    return make


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder that is served."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "small.txt").write_text("hello over ustack\n")
    return folder
