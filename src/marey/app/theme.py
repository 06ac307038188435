"""Theme of the page, light and dark, and a style sheet for what a theme cannot set."""

from __future__ import annotations

from typing import Final

_LIGHT: Final = {
    "primaryColor": "#0063a0",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f4f6f8",
    "textColor": "#1f2328",
    "borderColor": "#d8dee4",
    "linkColor": "#0063a0",
    "chartCategoricalColors": '["#0072b2","#d55e00","#009e73","#cc79a7","#e69f00","#56b4e9","#7d6bc4","#8a8a8a"]',
}
_DARK: Final = {
    "primaryColor": "#3f93d6",
    "backgroundColor": "#12161b",
    "secondaryBackgroundColor": "#1b2129",
    "textColor": "#e6edf3",
    "borderColor": "#323b46",
    "linkColor": "#6cb6ff",
    "chartCategoricalColors": '["#56a9e8","#f0883e","#3fb68b","#dd9cc0","#e8b23a","#8fcdf5","#a397e0","#a8a8a8"]',
}
THEME: Final = {
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
    "theme.baseRadius": "medium",
    "theme.headingFontSizes": '["2rem","1.5rem","1.2rem","1.1rem","1rem","1rem"]',
    "theme.showWidgetBorder": "true",
}
"""Options of Streamlit."""

CSS: Final = """
.stMainBlockContainer { max-width: 72rem; padding-top: 4.5rem; }
[data-testid="stVideo"] { max-height: 62vh; object-fit: contain; border-radius: 8px; }
[data-testid="stImage"] img { border-radius: 8px; }
.marey-answer { margin: 0 0 .25rem; line-height: 1.15; }
.marey-answer strong { display: block; font-size: 2.5rem; font-weight: 650; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
.marey-answer span { opacity: .7; font-size: 1.05rem; }
.marey-lead { margin: -.5rem 0 .5rem; opacity: .7; font-size: 1.05rem; max-width: 46rem; }
.stHtml ol.marey-bars { list-style: none; margin: .5rem 0 0; padding: 0; display: grid; gap: .6rem; }
.stHtml ol.marey-bars li { display: grid; grid-template-columns: 1fr auto; gap: .15rem 1rem; margin: 0; }
.marey-bars .name { overflow-wrap: anywhere; }
.marey-bars .value { font-variant-numeric: tabular-nums; opacity: .75; }
.marey-bars .track { grid-column: 1 / -1; height: .5rem; border-radius: 99px; overflow: hidden;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.marey-bars .bar { display: block; height: 100%; border-radius: 99px; background: #8a97a5; }
.marey-bars li:first-child .bar { background: #2f86cc; }
.marey-bars li:first-child .name { font-weight: 600; }
.marey-strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .6rem; }
.marey-strip figure { margin: 0; }
.marey-strip img { width: 100%; display: block; border-radius: 6px; }
.marey-strip figcaption { font-size: .8rem; opacity: .65; padding-top: .2rem; }
@media (max-width: 40rem) {
  .stMainBlockContainer { padding: 4rem 1rem 3rem; }
  .marey-answer strong { font-size: 2rem; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
"""
"""Style sheet of the page."""
