"""One spelling for the same strategy, and what cannot be read."""

import pytest

from experiments.training.strategy_names import is_own, one_spelling, parse
from experiments.usage import UsageError


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("clip", "clip"),
        ("smooth_clip()", "smooth_clip"),
        (" smooth_clip ( temperature = .5 ) ", "smooth_clip(temperature=0.5)"),
        ("smooth_clip(temperature=2.0)", "smooth_clip(temperature=2)"),
        ("smooth_clip(temperature=[0.5])", "smooth_clip(temperature=0.5)"),
        ("smooth_clip(temperature=[5e-1, 1, 0.5])", "smooth_clip(temperature=[0.5,1])"),
        ("clip_after_warmup(weight=1,warmup=0.1)", "clip_after_warmup(warmup=0.1,weight=1)"),
        ("mine:map( b=1e-05, a=-3 )", "mine:map(a=-3,b=1e-05)"),
        ("mine:map(steps=2)", "mine:map(steps=2)"),
        ("mine:map(steps=2.0)", "mine:map(steps=2.0)"),  # which is another thing to Python
        ("mine:map(x=0.1234567890123)", "mine:map(x=0.1234567890123)"),
    ],
)
def test_the_same_has_one_spelling(given, spelled):
    assert one_spelling(given) == spelled
    assert one_spelling(spelled) == spelled
    assert parse(spelled)[0] == spelled.partition("(")[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smooth_clip(0.5)", "hyperparameters go by name.*Give smooth_clip, or"),
        ("smooth_clip(temperature=0.5", "cannot be read"),
        ("smooth_clip(temperature=[])", r"finite number, got \[\]"),
        ("smooth_clip(temperature=[0.1, True])", "finite number, got True"),
        ("smooth_clip(temperature=[[0.1]])", r"finite number, got \[0.1\]"),
        ("mine:map(a=1e999)", "finite number, got inf"),
    ],
)
def test_what_cannot_be_read_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        one_spelling(name)


def test_whose_a_strategy_is_goes_by_its_name_alone():
    assert is_own("mine:map(a=1)")
    assert not is_own("smooth_clip(temperature=1)")
    assert not is_own("a(b:c)")
