"""Letters of any script, where a font has them and where none does."""

import io
import warnings

import pytest
from matplotlib.figure import Figure

from experiments.figures import draw, fonts


@pytest.fixture
def figure():
    figure = Figure()
    axes = figure.add_subplot(title="price 开盘")
    axes.set_yticks([0, 1], ["clip", "盘"])
    return figure


def families(figure):
    (axes,) = figure.axes
    return [text.get_fontfamily() for text in (axes.title, *axes.get_yticklabels())]


def test_a_text_is_given_the_fonts_that_its_letters_need(figure, monkeypatch):
    monkeypatch.setattr(fonts, "font_with", {"开": "One", "盘": "Other"}.get)
    fonts.complete(figure)
    plain = families(Figure().add_subplot().figure)[0]
    assert families(figure) == [[fonts.FAMILY, "One", "Other"], plain, [fonts.FAMILY, "Other"]]


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_letters_of_no_font_are_boxes_with_a_warning_that_says_what_to_do(
    figure, monkeypatch, tmp_path, form
):
    monkeypatch.setattr(fonts, "font_with", {}.get)
    with pytest.warns(UserWarning, match="No installed font has .*盘.*: .* fonts-noto-cjk") as told:
        draw.save(figure, tmp_path / f"a.{form}")
    assert len(told) == 1


def test_letters_that_are_there_are_drawn_with_no_search(figure, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: pytest.fail("searched"))
    figure.axes[0].set(title="W/m² Größe −1 Ελλάδα Москва", yticks=[])
    fonts.complete(figure)
    with warnings.catch_warnings(action="error"):
        figure.savefig(io.BytesIO())


def test_a_font_is_found_by_its_letters_and_what_is_no_font_is_passed_over(monkeypatch, tmp_path):
    from matplotlib import font_manager

    dejavu = font_manager.findfont("DejaVu Sans")
    broken = tmp_path / "a.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "_installed", lambda: [str(broken), str(tmp_path / "b"), dejavu])
    assert fonts.font_with.__wrapped__("Ж") == "DejaVu Sans"
    assert fonts.font_with.__wrapped__("开") is None
