"""`marey app`: the page in the browser."""

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
    """What `app` answers when the page has been closed.

    Attributes:
        address: where it was.
    """

    address: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"address": self.address}


@command(
    "app",
    panel="Predict",
    examples=("app", "app runs/ --port 8600 --browser none"),
    show=lambda answer: [f"the page at {answer.address} is closed"],
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
    """Open the page in the browser: recognise clips, look at runs, teach new models.

    It runs until Ctrl-C. On the default address only this machine reaches it. On any other, whoever reaches the page
    can upload clips and start trainings, but names no files of this machine.

    Args:
        models: runs and models are looked for below this folder, and new runs are put there.
        data: folder for uploads, clips by class and corrections; by default `app` where named data sets lie.
        host: address to listen on; 0.0.0.0 for every network of this machine.
        port: where to listen; where it is taken, the next free one.
        browser: "open" the page in one, or "none" to only say where it is.
    """
    from marey.app.server import Server, claimed_port, is_local
    from marey.app.settings import Settings
    from marey.data import data_home

    if browser not in ("open", "none"):
        raise UsageError(f"browser='{browser}' is neither 'open' nor 'none'")
    if models.exists() and not models.is_dir():
        raise UsageError(f"{models} is a file; name the folder that holds your runs, or shall hold them")
    settings = Settings(models, data or data_home() / "app", is_local(host))
    with claimed_port(host, port) as found:
        if found != port:
            reporter.say(f"port {port} is taken")
        with Server(settings, host=host, port=found) as server:
            reporter.say(f"the page is at {server.address} (Ctrl-C ends it)")
            if not settings.local:
                reporter.say(f"whoever reaches {host} can use it: it has no password")
            if browser == "open":
                webbrowser.open(server.address)
            try:
                status = server.wait()
            except KeyboardInterrupt:
                status = 0
    if status:
        raise UsageError(f"Streamlit's server ended with status {status}")
    return Served(server.address)
