"""The gallery: every constraint and every map onto a set, drawn by the functions themselves.

What is said of each comes from the tables in the docstrings of `bounded.constraints` and
`bounded.sets`; a function that lands there is in the gallery without a line here.
"""

import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt

from bounded import constraints, inverses, sets
from extensions.docstrings import cells
from extensions.reference import public

SINGLE = """## Bounds of single outputs

The line is the output, the dashed one its derivative to raw, both over raw; grey is what the bounds
forbid. Temperatures and widths have their defaults.

"""
TOGETHER = """## Outputs that are bounded together

Of two outputs (of more, the first two). Left, where the lines of a regular grid of raw go. Right,
how many directions of raw the output still depends on there: where it is fewer than two, no
gradient comes through along the others.

"""
Case = tuple[str, Callable, tuple[float, float]]  # a line of code, a map of two, where to draw it
BOUNDS = ({"lower": -1.0, "upper": 1.0}, {"upper": 1.0})
INK, FILL, BLUE, ORANGE = "#767676", "#8888883a", "#2f7fc1", "#d9822b"  # on white and on black
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "bounded",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
RAW = np.linspace(-3, 3, 241, dtype=np.float32)


def told(module) -> dict[str, dict[str, str]]:
    """What the tables of a module's docstring say of each function, by their columns' heads."""
    found = {}
    for table in re.findall(r"(?:^\|.*\|\n)+", module.__doc__, re.MULTILINE):
        (_, *heads), _, *rows = map(cells, table.splitlines())
        for name, *facts in rows:
            found.setdefault(name.strip("`"), {}).update(zip(heads, facts, strict=True))
    return found


def single() -> Iterator[tuple[str, dict[str, float]]]:
    """Every constraint, with bounds that it takes: two where it can."""
    for name, function in public(constraints).items():
        if "raw" in inspect.signature(function).parameters:
            for bounds in BOUNDS:
                try:
                    jax.eval_shape(partial(function, **bounds), jnp.zeros(()))
                except ValueError:
                    continue
                yield name, bounds
                break


def together() -> Iterator[tuple[str, *Case]]:
    """Every map onto a set: its name, a line of code, the map of a raw of two, how far to draw."""
    for name, function in public(sets).items():
        if next(iter(inspect.signature(function).parameters)) == "raw":
            for code, of_two, reach in _cases(name, function):
                try:
                    found = jax.eval_shape(of_two, jnp.zeros(2))
                except ValueError:  # not this set
                    continue
                if getattr(found, "shape", None) == (2,):
                    yield name, code, of_two, reach
                    break


def _cases(name: str, function: Callable) -> Iterator[Case]:
    """Sets of two outputs for the functions that take them; for others their own example."""
    needed = {
        parameter
        for parameter, value in inspect.signature(function).parameters.items()
        if value.default is inspect.Parameter.empty
    }
    if needed == {"raw", "total"}:
        yield f"bounded.{name}(raw, total=1.0)", partial(function, total=1.0), (-1.0, 2.0)
    if needed in ({"raw", "rows"}, {"raw", "rows", "interior"}):
        box = sets.box_rows(0.0, jnp.ones(2))
        pentagon = sets.stack_rows(box, sets.Rows(jnp.ones((1, 2)), upper=1.5))
        matrix = jnp.array([[1.0, 0.0], [1.0, 2.0]])
        two_rows = sets.Rows(matrix, lower=0.0, upper=jnp.array([1.0, 2.0]))
        inside = {"interior": jnp.full(2, 0.4)} if "interior" in needed else {}
        code = f"bounded.{name}(raw, rows{', interior=inside' * bool(inside)})"
        for rows in (pentagon, two_rows):
            yield code, partial(function, rows=rows, **inside), (-1.0, 2.0)
    yield from _example(name, function)


def _example(name: str, function: Callable) -> Iterator[Case]:
    """The call of a docstring's example, of its first set: drawn over its first two entries."""
    calls = []

    def spy(*arguments, **keywords):
        calls.append((arguments, keywords))
        return function(*arguments, **keywords)

    names = {"jax": jax, "jnp": jnp, name: spy}
    for one in doctest.DocTestParser().get_examples(function.__doc__):
        with redirect_stdout(StringIO()):
            exec(one.source, names)
        if names.get(name) is function:
            names[name] = spy
    (raw, *arguments), keywords = calls[0]
    for count in jnp.shape(raw)[:-1]:
        raw, arguments, keywords = jax.tree.map(
            lambda value, count=count: value[0] if jnp.shape(value)[:1] == (count,) else value,
            (raw, arguments, keywords),
            is_leaf=callable,
        )

    def of_two(pair):
        return function(jnp.concatenate([pair, raw[2:]]), *arguments, **keywords)[:2]

    code = re.search(rf"\b{name}\(.*\)", function.__doc__.partition("Example:")[2])
    reach = 1.5 * float(jnp.max(jnp.abs(raw)))
    yield f"bounded.{code[0].removesuffix('.round(4))')}", of_two, (-reach, reach)


def draw_single(name: str, bounds: dict[str, float]) -> Figure:
    function = partial(getattr(constraints, name), **bounds)
    output, slope = jax.jit(jax.vmap(jax.value_and_grad(function)))(jnp.asarray(RAW))
    figure = Figure((3.4, 2.5), layout="constrained")
    axes = figure.subplots()
    if name != "identity":
        axes.axhspan(bounds["upper"], 3, color=FILL, lw=0)
        if "lower" in bounds:
            axes.axhspan(-3, bounds["lower"], color=FILL, lw=0)
    axes.plot(RAW, output, color=BLUE, linewidth=2)
    axes.plot(RAW, slope, color=ORANGE, linewidth=1.4, linestyle="--")
    axes.set(xlim=(-3, 3), ylim=(-2.2, 1.6), xticks=[-2, 0, 2], yticks=[-2, -1, 0, 1])
    axes.set_xlabel("raw")
    return figure


def draw_together(function: Callable, reach: tuple[float, float]) -> Figure:
    low, high = reach
    figure = Figure((5.4, 2.7), layout="constrained")
    image, rank = figure.subplots(1, 2)
    along, across = np.meshgrid(np.linspace(low, high, 121), np.linspace(low, high, 13))
    lines = np.stack([along, across], -1).astype(np.float32)
    mapped = jax.jit(jax.vmap(jax.vmap(function)))
    for pairs in (lines, lines[..., ::-1]):
        image.plot(
            *np.moveaxis(np.asarray(mapped(pairs)), -1, 0).swapaxes(1, 2), color=BLUE, lw=0.9
        )
    image.set(title="output", aspect="equal")
    places = np.linspace(low, high, 61, dtype=np.float32)
    pairs = np.stack(np.meshgrid(places, places), -1)
    values = jnp.linalg.svd(jax.jit(jax.vmap(jax.vmap(jax.jacfwd(function))))(pairs))[1]
    found = np.sum(np.asarray(values) > 1e-4, axis=-1)
    colors = matplotlib.colors.ListedColormap([ORANGE, "#ecc48f", "#bcd7ee"])
    rank.imshow(found, origin="lower", extent=(low, high, low, high), cmap=colors, vmin=0, vmax=2)
    rank.set_title("directions left, over raw")
    for count, words in enumerate(("none", "one", "two")):
        inside = distance_transform_edt(np.pad(found == count, 1))[1:-1, 1:-1]
        if inside.max() > 4:
            y, x = places[np.array(np.unravel_index(np.argmax(inside), inside.shape))]
            rank.text(x, y, words, ha="center", va="center", color="black")
    return figure


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def _entry(name: str, code: str, words: str, facts: dict[str, str]) -> str:
    module = "constraints" if hasattr(constraints, name) else "sets"
    inverse = f"{{py:obj}}`inverses.{name} <bounded.inverses.{name}>`"
    facts["Inverse"] = inverse if hasattr(inverses, name) else "none"
    facts["In full"] = f"{{py:obj}}`{name} <bounded.{module}.{name}>`"
    listed = "\n".join(
        f"- {head[0].upper()}{head[1:]}: {fact or '–'}" for head, fact in facts.items()
    )
    return (
        f"### {name}\n\n{words}\n\n"
        f"::::{{container}} shape\n![Shape of {name}](shapes/{name}.svg)\n\n"
        f":::{{container}} facts\n{listed}\n:::\n::::\n\n"
        f"```python\n{code}\n```\n\n"
    )


def _first_words(function: Callable) -> str:
    return inspect.getdoc(function).partition("\n\n")[0].replace("\n", " ")


def page(folder: Path) -> str:
    """The page's text; its figures are drawn into a folder."""
    text = [SINGLE]
    with matplotlib.rc_context(STYLE):
        known = told(constraints)
        for name, bounds in single():
            _save(draw_single(name, bounds), folder / f"{name}.svg")
            given = "".join(f", {side}={value}" for side, value in bounds.items())
            words = _first_words(getattr(constraints, name))
            text.append(_entry(name, f"bounded.{name}(raw{given})", words, known[name]))
        text.append(TOGETHER)
        known = told(sets)
        for name, code, function, reach in together():
            _save(draw_together(function, reach), folder / f"{name}.svg")
            words = _first_words(getattr(sets, name))
            text.append(_entry(name, code, words, known.get(name, {})))
    return "".join(text)
