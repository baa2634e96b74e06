"""A count of work is the same however busy the machine is."""

import pytest
from steps import steps


def walked(numbers):
    for _ in numbers:
        pass


def test_work_is_counted_and_bounded():
    """Twice as many elements are twice as many steps; what never ends is ended."""
    base = steps(lambda: walked(()), most=100)
    once, twice = (steps(lambda many=many: walked(range(many)), most=100) - base for many in (10, 20))
    assert twice == 2 * once > 0
    with pytest.raises(AssertionError, match="more than 100 steps"):
        steps(lambda: walked(iter(int, 1)), most=100)
