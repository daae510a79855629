"""Student's t quantiles against printed tables and SciPy's."""

import pytest
from scipy import stats

from megatron_recipe.lab.student import incomplete_beta, t_cdf, t_quantile


@pytest.mark.parametrize(
    ("probability", "degrees", "printed"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.995, 2, 9.925), (0.995, 30, 2.750), (0.95, 9, 1.833)],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, printed: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("degrees", [1.0, 1.3, 2.0, 2.71, 8.0, 33.3, 1e5])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.995, 0.99999])
def test_quantiles_are_those_of_scipy_also_between_whole_degrees(probability: float, degrees: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_the_distribution_begins_in_its_middle_and_ends_at_one() -> None:
    assert t_cdf(0.0, 3) == 0.5
    assert t_cdf(1e12, 3) == pytest.approx(1.0)
    assert (incomplete_beta(0.0, 2, 3), incomplete_beta(1.0, 2, 3)) == (0.0, 1.0)
