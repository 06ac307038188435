"""`marey serve`: models that answer over HTTP."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.errors import UsageError
from marey.extras import install_command
from marey.progress import SILENT, Reporter

if TYPE_CHECKING:
    from marey.service import Served

TOKEN: Final = "MAREY_TOKEN"  # noqa: S105 - the variable's name


@dataclass(frozen=True)
class Serving:
    """What `serve` answers when it has ended.

    Attributes:
        served: address, requests, seconds.
    """

    served: Served

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self.served)


def serve(
    models: list[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    jobs: Path | None = None,
    max_upload_mb: int = 512,
    max_seconds: float = 600.0,
    max_job_hours: float = 6.0,
    max_megapixels: float = 36.0,
    timeout: float = 120.0,
    max_waiting: int = 64,
    max_jobs: int = 16,
    keep_hours: float = 24.0,
    allow_urls: bool = False,
    allow_local_urls: bool = False,
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> Serving:
    """Answer over HTTP: labels for clips, and segments of long videos as jobs that outlive a restart.

    Callers have to show a token where the environment has one in MAREY_TOKEN. Ctrl-C finishes what was accepted; jobs
    go on with the next start.

    Args:
        models: model folders, runs, or folders of runs; the first one answers where a request names none.
        host: address to listen at; 0.0.0.0 for callers on other machines.
        port: likewise; 0 for any that is free.
        jobs: folder where jobs are kept; one server at a time. By default in the user's data folder.
        max_upload_mb: size of a file.
        max_seconds: duration of a clip; longer videos are jobs.
        max_job_hours: duration of a job's video.
        max_megapixels: size of a picture.
        timeout: seconds from the end of an upload to its answer.
        max_waiting: predictions that may wait; further ones are told to come again.
        max_jobs: jobs that may wait.
        keep_hours: how long a job can be asked for after it has ended.
        allow_urls: fetch videos from addresses of the public internet that callers name.
        allow_local_urls: fetch them from any address, those of the local network too.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.

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
        timeout=timeout,
        max_waiting=max_waiting,
        max_jobs=max_jobs,
        keep=keep_hours * 3600,
        urls="local" if allow_local_urls else "public" if allow_urls else "refuse",
    )
    picked = pick_device(device)
    found = find_models(models)
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
        jobs=jobs or data_home() / "jobs",
        on_listening=listening,
        on_ready=lambda: reporter.say("ready; Ctrl-C ends it"),
    )
    return Serving(served)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
