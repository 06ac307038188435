"""Connection to a Ray cluster: the one that is named, the one that runs here, or one of this machine's cores."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from marey.cores import usable_cores
from marey.errors import InputError, UsageError, first_line
from marey.extras import install_command

_SCHEME: Final = "ray://"
_AUTO: Final = "auto"
_LOCAL: Final = "local"
_STORE: Final = 256 << 20  # bytes of the object store of a cluster of our own: references and results are small
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray is to do in later versions anyway; it warns otherwise
    "RAY_worker_niceness": "0",  # 15 would let all other programs go first, on clusters of our own
}


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: of Ray.
        cpus: that Ray may use.
        gpus: likewise.
    """

    id: str
    cpus: float
    gpus: float


class Connection:
    """A connection to a Ray cluster.

    Attributes:
        ray: the module, connected.
        own: True where the cluster was started for this, on this machine's cores, and ends with it.
    """

    def __init__(self, ray: Any, *, own: bool) -> None:
        self.ray = ray
        self.own = own

    def nodes(self) -> list[Node]:
        """Return the machines that are alive."""
        found = [(node["NodeID"], node.get("Resources", {})) for node in self.ray.nodes() if node["Alive"]]
        return [Node(name, has.get("CPU", 0.0), has.get("GPU", 0.0)) for name, has in found]


def check_on(on: str) -> None:
    """Refuse a value of `--on` that names no cluster, or one where Ray is not installed.

    Raises:
        UsageError: it says what to do.
    """
    if on != "ray" and (not on.startswith(_SCHEME) or on == _SCHEME):
        raise UsageError(f"on={on}: write ray, or ray://HOST:PORT for a Ray cluster elsewhere")
    if find_spec("ray") is None:
        raise UsageError(f"--on {on} needs Ray, which is not installed: {install_command('ray')}")


@contextmanager
def connect(on: str, *, cores: int | None = None) -> Iterator[Connection]:
    """Connect to a Ray cluster, and leave it at the end.

    Args:
        on: "ray" takes the cluster that `RAY_ADDRESS` names, else the one that this machine belongs to, else it starts
            one on this machine's cores, which ends with the connection; "ray://HOST:PORT" is the Ray Client of a
            cluster elsewhere, "ray://auto" the one that this machine belongs to, and "ray://local" one of its own.
            Where the process is connected to Ray already, "ray" takes that connection, and leaves it open.
        cores: of a cluster of its own; by default those that this process may use.

    Raises:
        UsageError: `on` names no cluster, or Ray is not installed, or is another version than the cluster's.
        InputError: the cluster does not answer.
    """
    check_on(on)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    ray: Any = importlib.import_module("ray")
    if on == "ray" and ray.is_initialized():
        yield Connection(ray, own=False)
        return
    with _quiet():
        try:
            own = _open(ray, on, cores or usable_cores())
            yield Connection(ray, own=own)
        finally:
            ray.shutdown()
            _forget_client()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says of each dead worker off standard output, which is for answers; no setting of Ray does."""
    worker: Any = importlib.import_module("ray._private.worker")
    name = "print_to_stdstream"
    write = getattr(worker, name, None)
    if write is not None:
        setattr(worker, name, lambda *_, **__: None)
    try:
        yield
    finally:
        if write is not None:
            setattr(worker, name, write)


def _open(ray: Any, on: str, cores: int) -> bool:
    """Connect; return whether the cluster is one of our own."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    address = on.removeprefix(_SCHEME)
    if on == "ray":
        address = os.environ.get("RAY_ADDRESS") or _AUTO
    try:
        if address == _LOCAL:
            _start(ray, cores, quiet)
            return True
        if address != _AUTO and on != "ray":
            address = on
        if address.startswith(_SCHEME):
            _init_client(ray, address)
        else:
            ray.init(address=address, **quiet)
    except ConnectionError as error:
        if on == "ray" and address == _AUTO:
            _start(ray, cores, quiet)
            return True
        _check_token(error, address)
        raise InputError(
            f"no Ray cluster answers at {address} ({first_line(error)}): look at `ray status` there; ray:// takes the "
            "port of the Ray Client, mostly 10001"
        ) from error
    except RuntimeError as error:
        if "ersion mismatch" in str(error):
            raise UsageError(
                f"the cluster at {address} runs another Ray or Python than this one ({first_line(error)}): install the "
                "same versions on both"
            ) from error
        _check_token(error, address)
        raise InputError(f"the Ray cluster at {address} cannot be used: {first_line(error)}") from error
    return False


def _init_client(ray: Any, address: str) -> None:
    """Connect to the Ray Client of a cluster; its remarks are the errors that follow them."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)


def _forget_client() -> None:
    """Let this process start a cluster after it has asked a Ray Client for one, which did not answer."""
    hooks: Any = importlib.import_module("ray._private.client_mode_hook")
    forget = getattr(hooks, "_explicitly_disable_client_mode", None)
    if forget is not None:
        forget()


def _check_token(error: Exception, address: str) -> None:
    if "nauthenticated" in str(error) or "uthentication" in type(error).__name__:
        raise InputError(
            f"the Ray cluster at {address} asks for a token: set RAY_AUTH_MODE=token, with the token of the cluster in "
            "~/.ray/auth_token (`ray get-auth-token` there shows it)"
        ) from error


def _start(ray: Any, cores: int, quiet: dict[str, Any]) -> None:
    """Start a cluster on this machine, which no other machine can reach."""
    ray.init(
        address=_LOCAL,
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=_STORE,
        _node_ip_address="127.0.0.1",
        **quiet,
    )
