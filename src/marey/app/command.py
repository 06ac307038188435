"""Command `marey app`."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from marey.commands.registry import command
from marey.errors import UsageError
from marey.progress import AUTO, Reporter


@dataclass(frozen=True)
class Served:
    """Result of `app`.

    Attributes:
        url: of the page, which is closed.
    """

    url: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"url": self.url}


@command(
    "app",
    panel="Predict",
    examples=("app", "app runs/ --port 8600 --browser none"),
    show=lambda answer: [f"the page at {answer.url} is closed"],
)
def app(
    models: Path = Path("runs"),
    *,
    data: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8501,
    browser: Literal["open", "none"] = "open",
    reporter: Reporter = AUTO,
) -> Served:
    """Open the app in the browser: predict clips, inspect runs, train new models.

    It runs until Ctrl-C. With the default host, only this machine can reach it. With another host, anyone who reaches
    it can upload clips and start trainings, but cannot name files of this machine.

    Args:
        models: folder that is searched for runs and models; new runs are written to it.
        data: folder for uploads, training sets and corrections; by default `app` in the folder of named data sets.
        host: network address to listen on; 0.0.0.0 for all networks of this machine.
        port: port to listen on; the next free one is used if it is taken.
        browser: "open" the page in the browser, or "none" to print its URL only.
    """
    from marey.app.server import Server, claimed_port, is_local
    from marey.app.settings import Settings
    from marey.data import data_home

    if browser not in ("open", "none"):
        raise UsageError(f"browser='{browser}' is neither 'open' nor 'none'")
    if models.exists() and not models.is_dir():
        raise UsageError(f"{models} is a file; name the folder of your runs")
    settings = Settings(models, data or data_home() / "app", is_local(host))
    with claimed_port(host, port) as found:
        if found != port:
            reporter.say(f"port {port} is taken")
        with Server(settings, host=host, port=found) as server:
            reporter.say(f"the page is at {server.url} (Ctrl-C ends it)")
            if not settings.local:
                reporter.say(f"anyone who reaches {host} can use it: it has no password")
            if browser == "open":
                webbrowser.open(server.url)
            try:
                status = server.wait()
            except KeyboardInterrupt:
                status = 0
    if status:
        raise UsageError(f"Streamlit's server ended with status {status}")
    return Served(server.url)
