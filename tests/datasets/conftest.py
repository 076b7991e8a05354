"""What tests of several datasets share."""

import re
from collections.abc import Callable
from typing import Any

import pytest

LeftOut = Callable[[Any, str, str], None]


@pytest.fixture
def left_out() -> LeftOut:
    """Check that annotations of a dataset were left out by a reason, others not, and what the doctor tells of one."""

    def check(dataset: Any, reason: str, told: str) -> None:
        assert dataset.funnel.dropped[reason] >= 1, dataset.funnel.as_dict()
        assert len(dataset) > 0
        details = [fault.detail for fault in dataset.faults() if fault.kind == reason]
        assert any(re.search(told, detail) for detail in details), details

    return check
