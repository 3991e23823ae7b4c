import numpy as np
import pytest
from scipy.stats import poisson

from tem_data.materials.counting import counting_error, standard_error


@pytest.mark.parametrize("count, low, high", [(0, 0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390)])
def test_intervals_of_counts_are_garwoods(count, low, high):
    # table 2 of Ulm (1990), Am. J. Epidemiol. 131, 373
    error = counting_error(count)
    assert (error.low, error.high) == pytest.approx((low, high), rel=1e-3, abs=1e-3)
    assert error.standard == np.sqrt(count)


@pytest.mark.parametrize("mean", [0.5, 3, 40])
def test_intervals_cover_the_mean_of_poisson_counts_at_least_as_often_as_said(mean):
    counts = np.arange(poisson.ppf(1 - 1e-9, mean) + 1)
    errors = [counting_error(float(n)) for n in counts]
    covered = [error.low <= mean <= error.high for error in errors]
    assert poisson.pmf(counts, mean)[covered].sum() >= 0.95


def test_errors_of_densities_scale_with_the_counted_area():
    assert counting_error(16).over(8.0) == pytest.approx(tuple(value / 8 for value in counting_error(16)))


def test_standard_errors_are_those_of_a_mean():
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(np.sqrt(5 / 3) / 2)
    assert standard_error([1.0]) is None
