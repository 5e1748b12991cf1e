"""What several folders of tests import and what asserts there: pytest is to explain it, whoever imports it first."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.scenarios.two_hosts", "tests.tcp.notation", "tests.tcp.peer", "tests.tcp.world")
