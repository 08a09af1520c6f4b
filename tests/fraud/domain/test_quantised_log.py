"""The quantised log amount is exact: its table of steps is checked in decimal arithmetic."""

from decimal import Decimal, localcontext

import numpy as np

from fraud.domain.features import _log_steps, quantised_log, quantised_log_of


def test_every_step_is_where_the_real_logarithm_has_it() -> None:
    steps = _log_steps()
    checked = [*range(0, 2_000), *range(2_000, len(steps), 97), len(steps) - 1]
    with localcontext() as context:
        context.prec = 40
        for place in checked:
            level = (Decimal(place + 1) - Decimal("0.5")) / 10_000
            exact = 100 * (level.exp() - 1)
            assert int(steps[place]) == int(exact.to_integral_value(rounding="ROUND_CEILING"))


def test_the_largest_amount_is_inside_the_table() -> None:
    largest = 9_999_999_999
    assert quantised_log_of(largest) == round(10_000 * float(np.log1p(largest / 100)))
    assert quantised_log_of(largest) <= len(_log_steps())


def test_one_amount_and_an_array_of_amounts_agree() -> None:
    amounts = np.array([0, 1, 49, 50, 100, 12_345, 9_999_999_999])
    assert quantised_log(amounts).tolist() == [quantised_log_of(int(a)) for a in amounts]
