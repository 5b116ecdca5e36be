"""Letters that the font of figures lacks, from another font of the machine."""

import os
import unicodedata
import warnings
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

FAMILY = "DejaVu Sans"  # comes with matplotlib


def complete(figure: Figure) -> None:
    """Gives each text of a figure the fonts that its letters need. Warns of letters that no font
    has, for which boxes are drawn."""
    nowhere: dict[str, None] = {}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if lacking := _lacking(text.get_text()):
            fonts = {letter: font_with(letter) for letter in lacking}
            text.set_fontfamily([FAMILY, *dict.fromkeys(filter(None, fonts.values()))])
            text.set_fontweight("normal")  # there may be no other
            nowhere |= {letter: None for letter, font in fonts.items() if font is None}
    if nowhere:
        warnings.warn(
            f"No installed font has {''.join(nowhere)}: boxes are drawn in place of these letters. "
            "Install one that does, such as Debian's fonts-noto-cjk or fonts-noto-core, and run "
            "`python -m experiments.report` again.",
            stacklevel=2,
        )


def _lacking(text: str) -> list[str]:
    """The letters that FAMILY has no shape of."""
    if text.isascii():
        return []
    known = _font(font_manager.findfont(FontProperties(family=FAMILY))).get_charmap()
    return [
        letter
        for letter in dict.fromkeys(text)
        if ord(letter) not in known and unicodedata.category(letter)[0] not in "CZ"
    ]


@cache
def font_with(letter: str) -> str | None:
    """The family of an installed font that has a letter, plain and without serifs if there is one.
    The machine is searched, and not matplotlib's list, which is older than what was installed
    since."""
    for path in _installed():
        try:
            font = _font(path)
            if font.scalable and ord(letter) in font.get_charmap():
                font_manager.fontManager.addfont(path)
                return font.family_name
        except (OSError, RuntimeError):  # what FreeType cannot read
            continue
    return None


@cache
def _installed() -> list[str]:
    def strange(path: str) -> tuple[bool, bool, str]:
        name = os.path.basename(path)
        return "Sans" not in name, "Regular" not in name, name

    return sorted(font_manager.findSystemFonts(), key=strange)


@cache
def _font(path: str) -> FT2Font:
    return font_manager.get_font(path)
