"""The best one-to-one pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from realtime.assignment import assign

SHARES = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.25, 0.5, 0.75]))


@given(arrays(np.float32, st.tuples(st.integers(0, 7), st.integers(0, 7)), elements=SHARES),
       st.sampled_from([0.1, 0.25, 0.5]))  # fmt: skip
def test_the_sum_is_the_largest_of_pairs_that_are_alike_enough(similarity, least):
    rows, columns = assign(similarity, least)
    assert rows.dtype == columns.dtype == np.int64
    assert (np.diff(rows) > 0).all() and len(set(columns.tolist())) == len(columns)
    assert (similarity[rows, columns] >= least).all()
    good = np.where(similarity >= least, similarity, 0)
    most = good[linear_sum_assignment(good, maximize=True)].sum()
    assert good[rows, columns].sum() == pytest.approx(most, abs=1e-5)


@pytest.mark.parametrize("shape", [(40, 40), (25, 60), (60, 25)])
def test_groups_in_which_everybody_is_like_everybody(shape):
    similarity = np.random.default_rng(4).random(shape).astype(np.float32) ** 0.1
    rows, columns = assign(similarity, 0.05)
    np.testing.assert_array_equal((rows, columns), linear_sum_assignment(similarity, maximize=True))


def test_what_is_no_number_is_like_nobody():
    similarity = np.array([[np.nan, 0.6], [0.7, np.nan]], np.float32)
    assert [found.tolist() for found in assign(similarity, 0.5)] == [[0, 1], [1, 0]]
