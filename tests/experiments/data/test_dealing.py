import numpy as np
import pytest

from experiments.data.dealing import deal, deal_in_turns


def test_blocks_of_days_stay_together_and_every_season_is_everywhere():
    day = np.tile(np.arange(365), 2)
    split = deal(day)
    np.testing.assert_array_equal(split[:365], split[365:])
    blocks = split[:364].reshape(-1, 14)
    assert (blocks == blocks[:, :1]).all()
    for part in range(3):
        seasons = np.unique(day[split == part] // 98)
        assert {0, 1, 2} <= set(seasons)


@pytest.mark.parametrize("blocks", [7, 28, 70])
def test_what_is_held_out_goes_round_the_year(blocks):
    split = deal_in_turns(blocks)
    years = split.reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(years), np.tile([0, 0, 0, 0, 0, 1, 2], (blocks // 7, 1)))
    for part in (1, 2):
        places = (years == part).argmax(axis=1)
        assert len(set(places.tolist())) == min(7, len(years))
    np.testing.assert_array_equal(deal_in_turns(blocks + 3)[:blocks], split)
