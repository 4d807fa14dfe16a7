"""What the SDK's JSON lacks or has too much of, put right in one place."""

from typing import Any

Json = dict[str, Any]

_VARIABLE_STRAYS = ("auto", "auto_count", "auto_min")
_DATA_LINK_KEYS = ("title", "url", "targetBlank")


def correct(board: Json) -> Json:
    """The dashboard as Grafana would have written it; `board` itself is changed.

    Panels get no id and rows all the same; links and annotations get a placement that hides them in a menu;
    variables get keys of another kind of variable; links of data get the keys of links of dashboards; tables
    get a footer that Grafana's types no longer have; panels that are not repeated get a direction for it.
    """
    for number, panel in enumerate(board["panels"], start=1):
        panel["id"] = number
        _mend_panel(panel)
    for link in board["links"]:
        link.pop("placement", None)
    for annotation in board["annotations"]["list"]:
        annotation.pop("placement", None)
    for variable in board["templating"]["list"]:
        for stray in _VARIABLE_STRAYS:
            variable.pop(stray, None)
    return board


def _mend_panel(panel: Json) -> None:
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if "links" in defaults:
        defaults["links"] = [{key: link[key] for key in _DATA_LINK_KEYS} for link in defaults["links"]]
    if "repeat" not in panel:
        panel.pop("repeatDirection", None)
    if panel["type"] == "table":
        panel["options"].pop("footer", None)
