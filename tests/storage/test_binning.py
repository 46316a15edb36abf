"""Shares of flags in stretches of time, as sparklines and heat strips show them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.binning import binned


@given(st.lists(st.booleans(), max_size=500), st.integers(1, 120))
def test_stretches_cover_all_flags_once(flags, stretches):
    found = binned(np.array(flags, bool), stretches)
    assert len(found) == min(stretches, len(flags))
    edges = np.linspace(0, len(flags), len(found) + 1).astype(int)
    assert sum(np.diff(edges) * found) == pytest.approx(sum(flags))


def test_a_stretch_says_how_often_it_is_so():
    assert binned(np.array([True, False, False, False, True, True]), 3) == [0.5, 0, 1]
