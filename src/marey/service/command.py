"""`marey serve`: models that answer over HTTP."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from marey.commands.options import Device, Engine, StrPath
from marey.commands.registry import Help, command
from marey.errors import UsageError
from marey.extras import install_command
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.service import Served

TOKEN: Final = "MAREY_TOKEN"  # noqa: S105 - the variable's name


@dataclass(frozen=True)
class Serving:
    """The answer of `serve` when it has ended.

    Attributes:
        served: URL, requests, seconds.
    """

    served: Served

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self.served)


def _show(answer: Serving) -> Iterator[str]:
    served = answer.served
    yield f"{served.address} answered {served.requests} requests in {served.seconds:.0f} s"


@command(
    "serve",
    panel="Predict",
    examples=("serve runs/first", "serve runs/ --host 0.0.0.0 --port 8080 --max-upload-mb 100"),
    show=_show,
)
def serve(
    models: Annotated[StrPath | Sequence[StrPath], Help("", cli=list[Path])],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    jobs: StrPath | None = None,
    max_upload_mb: int = 512,
    max_seconds: float = 600.0,
    max_job_hours: float = 6.0,
    max_megapixels: float = 36.0,
    max_memory_mb: int = 1536,
    timeout: float = 120.0,
    max_waiting: int = 64,
    max_uploads: int = 256,
    max_connections: int = 128,
    max_jobs: int = 16,
    keep_hours: float = 24.0,
    allow_urls: bool = False,
    allow_local_urls: bool = False,
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Serving:
    """Serve models over HTTP: labels of clips, and segments of long videos as jobs that survive a restart.

    If the environment variable MAREY_TOKEN is set, callers have to send this token. Ctrl-C finishes accepted requests;
    jobs continue at the next start.

    Args:
        models: model folders, runs, or folders of runs; the first one answers where a request names none.
        host: the IP address to listen on; 0.0.0.0 for callers on other machines.
        port: the port to listen on; 0 for any free one.
        jobs: folder of the jobs, for one server at a time; by default in the user's data folder.
        max_upload_mb: largest file in MB.
        max_seconds: longest clip in seconds; longer videos are jobs.
        max_job_hours: longest video of a job in hours.
        max_megapixels: largest frame in megapixels.
        max_memory_mb: most memory in MB for reading one video, in a process of its own.
        timeout: seconds from the end of an upload to its answer.
        max_waiting: predictions that may wait; further ones are asked to come again.
        max_uploads: uploads that may be in progress at a time; likewise.
        max_connections: open connections that one address may have; behind a proxy, which has the address of all
            callers, as many as it opens.
        max_jobs: jobs that may wait.
        keep_hours: hours for which an ended job is kept.
        allow_urls: fetch videos from URLs of the public internet that callers name.
        allow_local_urls: fetch them from any URL, also from the local network.
        reporter: receives the progress; by default sentences in a terminal or a notebook.

    Raises:
        UsageError: a package is missing, the port or the folder of jobs is taken, or a limit is none.
        ModelFormatError: a folder that is no model.
    """
    try:
        from marey.service import Settings, default_layout, find_models, run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("marey"):
            raise
        raise UsageError(f"the service needs {error.name}: {install_command('serve')}") from error
    from marey.commands.steps.prepare import pick_device
    from marey.data import data_home

    token = os.environ.get(TOKEN)
    settings = Settings(
        token=token,
        max_upload=max_upload_mb * 2**20,
        max_duration=max_seconds,
        max_job_duration=max_job_hours * 3600,
        max_pixels=round(max_megapixels * 1e6),
        max_memory=max_memory_mb * 2**20,
        timeout=timeout,
        max_waiting=max_waiting,
        max_uploads=max_uploads,
        max_connections=max_connections,
        max_jobs=max_jobs,
        keep=keep_hours * 3600,
        urls="local" if allow_local_urls else "public" if allow_urls else "refuse",
    )
    picked = pick_device(device)
    named = [models] if isinstance(models, str | Path) else models
    found = find_models([Path(each) for each in named])
    if token is None and not _is_this_machine(host):
        reporter.say(f"anyone who reaches {host} can use this service: set {TOKEN} to ask callers for a token")

    def listening(address: str) -> None:
        reporter.say(f"loading {', '.join(found)}")
        reporter.say(f"listening at {address}, and described at {address}/docs")

    served = run(
        found,
        host=host,
        port=port,
        device=picked,
        engine=engine,
        settings=settings,
        layout=default_layout(picked),
        jobs=Path(jobs) if jobs is not None else data_home() / "jobs",
        on_listening=listening,
        on_ready=lambda: reporter.say("ready; Ctrl-C ends it"),
    )
    return Serving(served)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
