"""Charts as SVG that takes its colours from the page, so that it can be light or dark and prints well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Stand-ins that no chart uses otherwise; the page defines the variables.
_INK, _LINE = "#010203", "#040506"
_VARIABLES = {_INK: "var(--ink)", _LINE: "var(--line)"}
# Okabe and Ito's colours, which people with any colour vision can tell apart.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b5a800", "#8c8c8c")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "medallion",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": _LINE,
    "grid.color": _LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
_MOST_SERIES, _MOST_LABELS = len(_COLORS), 12


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Draw a bar for each label, made of a part for each series; what does not fit in colours is added up as others."""
    figure, axes = _figure(width=9.6, height=2.8)
    names = sorted(series, key=lambda name: -sum(series[name]))
    shown = {name: list(series[name]) for name in names[: _MOST_SERIES - 1]}
    others = [list(series[name]) for name in names[_MOST_SERIES - 1 :]]
    if others:
        shown["others"] = [sum(values) for values in zip(*others, strict=True)]
    bottom = [0.0] * len(labels)
    for (name, values), color in zip(shown.items(), _COLORS, strict=False):
        axes.bar(range(len(labels)), values, bottom=bottom, color=color, label=name, width=0.8)
        bottom = [below + value for below, value in zip(bottom, values, strict=True)]
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(unit)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _label(axes, labels)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, labelcolor=_INK)
    return _svg(figure)


def line(labels: Sequence[str], values: Sequence[float], *, threshold: Sequence[float], unit: str) -> str:
    """Draw a value over time and, dashed, the threshold that it should not fall below."""
    figure, axes = _figure(width=9.6, height=2.4)
    axes.plot(values, color=_COLORS[0], marker="o", markersize=4, label=unit)
    axes.plot(threshold, color=_COLORS[5], linestyle="--", marker="_", markersize=16, label="threshold")
    axes.set_ylim(min([*values, *threshold]) - 2, 101)
    axes.set_ylabel(unit)
    _label(axes, labels)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, labelcolor=_INK)
    return _svg(figure)


def bars(values: Mapping[str, float], *, unit: str) -> str:
    """Draw a horizontal bar for each name, the first on top."""
    figure, axes = _figure(width=9.6, height=0.5 + 0.24 * len(values))
    axes.barh(range(len(values)), list(values.values()), color=_COLORS[0])
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(unit)
    return _svg(figure)


def _figure(*, width: float, height: float) -> tuple[Figure, Any]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        return figure, figure.add_subplot()


def _label(axes: Any, labels: Sequence[str]) -> None:
    """Write as many labels as there is room for."""
    step = -(-len(labels) // _MOST_LABELS) or 1
    places = range(0, len(labels), step)
    axes.set_xticks(list(places), [labels[place] for place in places])


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return svg[svg.index("<svg") :]
