"""The page's three charts, for Vega-Lite: every run, one strategy's training curves, its windows.

Texts and lines take their colour from `page.css`. Marks have one that stands out on white and on
black: each has a contrast of 3 with both.
"""

from typing import Any

from experiments.figures.style import look

Json = dict[str, Any]
# By what a reader calls them: a strategy of each, and the colour of all.
FAMILIES = {
    "clips": ("clip", "#0072B2"),
    "clips at times": ("clip_at_evaluation", "#3D9AD1"),
    "smooth clips": ("smooth_clip", "#009E73"),
    "offsets": ("relu_offset", "#D55E00"),
    "intervals": ("tanh_interval", "#C66A9E"),
    "penalties": ("squared_hinge", "#B98200"),
    "sums": ("budget_projection", "#8C6D31"),
    "no bound": ("unconstrained", "#7B61C9"),
    "baselines": ("bound", "#8A8A8A"),
}
OWN = "your own"
COLORS = {name: color for name, (_, color) in FAMILIES.items()} | {OWN: "#A2468C"}
OTHERS = "#8A8A8A"  # lines to compare with
FORBIDDEN = "#8A8A8A"
AXES = {
    "skill": "skill: error reduction over a clipped mean",
    "r2": "r2: skill takes climatology_clipped, which is missing",
}
BARE = {"domain": False, "ticks": False}  # of an axis
ROW = 23  # pixels of a strategy
BEYOND = 0.06  # of the axis, for what lies left of it
EDGE = f"left - {BEYOND / 2} * (right - left)"  # where that is drawn
CONFIG = {
    "background": None,
    "font": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif",
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500},
    "legend": {"labelFontSize": 12},
    "view": {"stroke": None},
}


def family(strategy: str) -> str:
    """What a reader calls strategies like this one."""
    color = look(strategy)["color"]
    return next((name for name, (of, _) in FAMILIES.items() if look(of)["color"] == color), OWN)


def specs(metric: str, families: list[str]) -> Json:
    """By the id of the element that each is drawn in."""
    return {
        "runs": _chart(runs(metric, families), "runs", f"Every run: {metric} by strategy"),
        "curves": _chart(curves(), "curves", "Validation error by epoch"),
        "window-0": _chart(window(), "window", "A typical test window"),
        "window-1": _chart(window(), "window", "A test window whose target varies much"),
    }


def _chart(spec: Json, data: str, said: str) -> Json:
    """As wide as where it stands.

    Args:
      spec: what is drawn.
      data: the name of its rows.
      said: to who does not see it.
    """
    shared = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return {"config": CONFIG, "description": said, "data": {"name": data}, **shared, **spec}


def _params(*names: str) -> list[Json]:
    """What `page.js` sets."""
    return [{"name": name, "value": None} for name in names]


def runs(metric: str, families: list[str]) -> Json:
    """Every run a dot, a row a strategy, the best on top; a bar at the mean."""
    row = {
        "field": "strategy",
        "type": "nominal",
        "title": None,
        "sort": {"field": "mean", "op": "max", "order": "descending"},
        "axis": {"labelLimit": 220, "labelPadding": 8, **BARE},
    }
    place = {
        "type": "quantitative",
        "title": AXES[metric],
        "scale": {
            "domain": [{"expr": f"left - {BEYOND} * (right - left)"}, {"expr": "right"}],
            "nice": False,
            "zero": False,
        },
        "axis": {"orient": "top", "titleAnchor": "end", "tickCount": 5, **BARE},
    }
    return {
        "height": {"step": ROW},
        "params": _params("chosen", "left", "right", "size"),
        "transform": [
            {"calculate": "isValid(datum.value) ? max(datum.value, -1) : -1", "as": "counted"},
            {
                "calculate": "!isValid(datum.value) ? 'failed' : datum.value < left ? 'beyond' : "
                "'there'",
                "as": "state",
            },
            {
                "calculate": f"datum.state === 'there' ? datum.value : {EDGE}",
                "as": "shown",
            },
            {
                "joinaggregate": [{"op": "mean", "field": "counted", "as": "mean"}],
                "groupby": ["strategy"],
            },
        ],
        "encoding": {"y": row},
        "layer": [
            {
                "name": "rows",
                "transform": [{"aggregate": [], "groupby": ["strategy", "mean"]}],
                "mark": {"type": "rect", "cursor": "pointer", "color": OTHERS, "aria": False},
                "encoding": {
                    "opacity": {
                        "condition": {"test": "datum.strategy === chosen", "value": 0.25},
                        "value": 0,
                    }
                },
            },
            {
                "name": "means",
                "transform": [
                    {"aggregate": [], "groupby": ["strategy", "mean"]},
                    {"filter": "datum.mean >= left"},
                ],
                "mark": {"type": "tick", "thickness": 2, "size": 21, "opacity": 1, "aria": False},
                "encoding": {"x": {"field": "mean", **place}},
            },
            {
                "name": "dots",
                "mark": {
                    "type": "point",
                    "filled": True,
                    "opacity": 1,
                    "cursor": "pointer",
                    "aria": False,
                },
                "encoding": {
                    "x": {"field": "shown", **place},
                    "yOffset": {
                        "field": "jitter",
                        "type": "quantitative",
                        "scale": {"domain": [-0.3, 1.3]},
                    },
                    "color": {
                        "field": "family",
                        "type": "nominal",
                        "scale": {
                            "domain": families,
                            "range": [COLORS[name] for name in families],
                        },
                        "legend": None,
                    },
                    "shape": {
                        "field": "state",
                        "type": "nominal",
                        "scale": {
                            "domain": ["there", "beyond", "failed"],
                            "range": ["circle", "triangle-left", "cross"],
                        },
                        "legend": None,
                    },
                    "size": {"value": {"expr": "size"}},
                    "tooltip": [
                        {"field": field, "type": "nominal", "title": title}
                        for field, title in {
                            "title": "strategy",
                            "on": "dataset",
                            "network": "network",
                            "seed": "seed",
                            "said": metric,
                            "outside": "outside the bounds",
                        }.items()
                    ],
                },
            },
        ],
    }


def curves() -> Json:
    """Validation error by epoch: a line a seed; medians of the other strategies to compare with."""
    mse = {
        "type": "quantitative",
        "title": "mean squared error on validation",
        "scale": {"type": "log", "nice": False, "domain": [{"expr": "low"}, {"expr": "high"}]},
        "axis": {"tickCount": 5, **BARE},
    }
    epoch = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "axis": {"grid": False, "tickCount": 6, "tickMinStep": 1},
        "scale": {"nice": False, "domain": [{"expr": "first"}, {"expr": "last"}]},
    }
    lines = {"type": "line", "interpolate": "linear", "clip": True, "aria": False}
    return {
        "height": 240,
        "params": _params("color", "first", "last", "low", "high"),
        "transform": [{"filter": "isValid(datum.mse)"}],
        "encoding": {"x": epoch},
        "layer": [
            {
                "name": "others",
                "transform": [{"filter": "datum.other"}],
                "mark": {
                    **lines,
                    "color": OTHERS,
                    "strokeWidth": 0.8,
                    "point": {"color": OTHERS, "size": 4},
                },
                "encoding": {
                    "y": {"field": "mse", "aggregate": "median", **mse},
                    "detail": {"field": "strategy"},
                    "tooltip": [
                        {"field": "strategy", "type": "nominal"},
                        {"field": "epoch", "type": "quantitative"},
                        {"field": "mse", "aggregate": "median", "title": "median", "format": ".3g"},
                    ],
                },
            },
            {
                "name": "quartiles",
                "transform": [{"filter": "!datum.other && isValid(datum.high)"}],
                "mark": {"type": "area", "color": {"expr": "color"}, "opacity": 0.25},
                "encoding": {"y": {"field": "low", **mse}, "y2": {"field": "high"}},
            },
            {
                "name": "seeds",
                "transform": [{"filter": "!datum.other"}],
                "mark": {
                    **lines,
                    "color": {"expr": "color"},
                    "strokeWidth": 2,
                    "point": {"color": {"expr": "color"}, "size": 20},
                },
                "encoding": {
                    "y": {"field": "mse", **mse},
                    "detail": {"field": "seed"},
                    "tooltip": [
                        {"field": "seed", "type": "nominal"},
                        {"field": "epoch", "type": "quantitative"},
                        {"field": "mse", "type": "quantitative", "format": ".3g"},
                    ],
                },
            },
        ],
    }


def window() -> Json:
    """Target and output by step, what the bounds forbid shaded."""
    ends = {"nice": False, "domain": [{"expr": "low"}, {"expr": "high"}]}
    value = {"type": "quantitative", "scale": ends}
    step = {
        "field": "step",
        "type": "quantitative",
        "title": "step",
        "axis": {"grid": False, "tickCount": 5, "tickMinStep": 1},
        "scale": {"zero": False, "nice": False},
    }
    tooltip = [
        {"field": field, "type": "quantitative", "format": ".4~g"}
        for field in ("step", "target", "output", "lower", "upper")
    ]
    shade = {
        "type": "area",
        "color": FORBIDDEN,
        "opacity": 0.3,
        "line": {"color": FORBIDDEN, "strokeWidth": 1},
        "aria": False,
    }
    axis = {"title": None, "grid": False, "tickCount": 5, **BARE}
    return {
        "height": 240,
        "params": _params("color", "low", "high"),
        "encoding": {"x": step},
        "layer": [
            {
                "name": f"beyond_{end}",
                "transform": [{"filter": f"isValid(datum.{end})"}],
                "mark": shade,
                "encoding": {
                    "y": {"field": end, **value, "axis": axis},
                    "y2": {"datum": {"expr": edge}},
                },
            }
            for end, edge in (("upper", "high"), ("lower", "low"))
        ]
        + [
            {
                "name": "target",
                "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.5, "aria": False},
                "encoding": {"y": {"field": "target", **value}},
            },
            {
                "name": "known",
                "mark": {"type": "point", "filled": True, "size": 14, "aria": False},
                "encoding": {"y": {"field": "target", **value}},
            },
            {
                "name": "output",
                "mark": {
                    "type": "line",
                    "color": {"expr": "color"},
                    "strokeWidth": 2.2,
                    "point": {"color": {"expr": "color"}, "size": 16},
                    "aria": False,
                },
                "encoding": {"y": {"field": "output", **value}, "tooltip": tooltip},
            },
        ],
    }
