"""What a manifest may say of a dataset."""

import pytest

from experiments.shapes import MANIFEST, misfit


@pytest.mark.parametrize(
    ("said", "odd"),
    [
        ({"columns": ["open", "close"], "title": "Prices", "unit": "USD", "group": "shop"}, None),
        ({"columns": None, "title": None}, None),
        ({"columns": []}, None),
        ({"columns": "open"}, "columns"),
        ({"columns": [1]}, "columns"),
        ({"columns": {"a": "b"}}, "columns"),
        ({"title": 3}, "title"),
        ({"title": ["a"]}, "title"),
    ],
)
def test_names_of_a_dataset_are_texts(said, odd):
    found = misfit({"datasets": {"prices": said}}, MANIFEST)
    assert found == (odd and f"datasets.prices.{odd}")
