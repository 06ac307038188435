"""Predictions as a Parquet file: a row a clip, or a row a window, which a second run completes.

Rows are written beside the file as they come, `<name>.parts/`, so that a run that is killed loses the last seconds
only. At the end they are merged with the rows of the file by the order of the clips, and the parts are removed.
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from marey.cluster.prediction import Labelled
from marey.data import Clip
from marey.data.importers.feature_partitions import require_pyarrow
from marey.data.stored_files import names_in, remove_file, write_file
from marey.encoders import DoneList
from marey.errors import MareyError, UsageError
from marey.prediction import Prediction, Timeline
from marey.remote_path import RemotePath, as_path
from marey.video.remote_file import open_binary

_ABOUT: Final = b"marey"
_FORMAT: Final = "marey predictions 1"
_FLUSH_ROWS: Final = 4096
_FLUSH_SECONDS: Final = 30.0


class PredictionRows:
    """The rows of a Parquet file of predictions on their way into it.

    Args:
        out: the file, here or in an object store.
        labels: of the model, in the order of `probabilities`.
        made_by: hash of the model and of the rules: rows with another one are made again.
        clips: in the order of the rows.

    Attributes:
        rest: places of the clips that are still to be read.

    Raises:
        UsageError: PyArrow is not installed, or the file is something else.
    """

    def __init__(self, out: str | Path, labels: Sequence[str], made_by: str, clips: Sequence[Clip]) -> None:
        require_pyarrow()
        self.out = as_path(out)
        if self.out.suffix.lower() != ".parquet":
            raise UsageError(f"--out {out}: predictions are written as Parquet: name a file that ends in .parquet")
        self._parts = self.out.with_name(f"{self.out.name}.parts")
        self._labels, self._made_by = tuple(labels), made_by
        self._clips = clips
        self._states = [json.dumps(DoneList.state_of(clip)) for clip in clips]
        self._places = {_source(clip): place for place, clip in enumerate(clips)}
        self._tables: list[Any] = []
        self._of_place: dict[int, int] = {}  # of a clip that is done -> number of the table that has its rows
        for table in self._known():
            self._take(table)
        self.rest = [place for place in range(len(clips)) if place not in self._of_place]
        self._rows: list[dict[str, Any]] = []
        self._added: list[int] = []
        self._flushed = time.monotonic()

    def add(self, place: int, answer: Labelled) -> None:
        """Take the answer for a clip."""
        self._rows += self._rows_of(place, answer)
        self._added.append(place)
        if len(self._rows) >= _FLUSH_ROWS or time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last time as a part."""
        import pyarrow as pa

        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema())
            write_file(self._parts / f"{secrets.token_hex(8)}.parquet", _packed(table))
            self._tables.append(table)
            self._of_place |= dict.fromkeys(self._added, len(self._tables) - 1)
        self._rows, self._added, self._flushed = [], [], time.monotonic()

    def finish(self) -> None:
        """Write the file, and remove the parts."""
        import pyarrow as pa

        self.flush()
        chosen = []
        for number, table in enumerate(self._tables):
            places = [self._places.get(source, -1) for source in table.column("source").to_pylist()]
            chosen += [(place, number, row) for row, place in enumerate(places) if self._of_place.get(place) == number]
        chosen.sort()  # by clip; its rows keep their order, by time
        starts = [0]
        for table in self._tables:
            starts.append(starts[-1] + len(table))
        whole = pa.concat_tables([self._schema().empty_table(), *self._tables])
        write_file(self.out, _packed(whole.take(pa.array([starts[number] + row for _, number, row in chosen]))))
        for name in names_in(self._parts):
            remove_file(self._parts / name)
        if not isinstance(self._parts, RemotePath) and self._parts.is_dir():
            with suppress(OSError):
                self._parts.rmdir()

    def _known(self) -> Iterator[Any]:
        """Yield the tables of the file and of the parts that a run left, which were made in the same way."""
        import pyarrow.parquet as pq

        parts = [self._parts / name for name in names_in(self._parts) if name.endswith(".parquet")]
        for path in (self.out, *parts):
            try:
                with open_binary(path) as file:
                    table = pq.read_table(file)
            except (MareyError, OSError, ValueError):  # it is not there, or half of something
                continue
            schema, about = self._schema(), (table.schema.metadata or {}).get(_ABOUT)
            if about == schema.metadata[_ABOUT]:
                yield table.cast(schema)
            elif path == self.out and about is None:
                raise UsageError(f"{self.out} is another table than one of predictions: name another file")

    def _take(self, table: Any) -> None:
        number = len(self._tables)
        self._tables.append(table)
        columns = [table.column(name).to_pylist() for name in ("source", "state", "made_by", "reason")]
        for source, state, made_by, reason in zip(*columns, strict=True):
            place = self._places.get(source)
            if place is None or reason is not None or made_by != self._made_by:
                continue
            if state == self._states[place] and state != "null":
                self._of_place[place] = number

    def _rows_of(self, place: int, answer: Labelled) -> Iterator[dict[str, Any]]:
        same = {"source": _source(self._clips[place]), "state": self._states[place], "made_by": self._made_by}
        if isinstance(answer, Timeline):
            yield from ({**same, **row} for row in _window_rows(answer))
        elif answer.reason is not None:
            yield {**same, "reason": answer.reason, "detail": answer.detail}
        else:
            yield {**same, **_clip_row(answer, self._labels)}

    def _schema(self) -> Any:
        import pyarrow as pa

        about = json.dumps({"format": _FORMAT, "labels": list(self._labels)})
        return pa.schema(
            [
                ("source", pa.string()),
                ("time", pa.float64()),
                ("label", pa.string()),
                ("confidence", pa.float64()),
                ("probabilities", pa.list_(pa.float64())),
                ("unfamiliarity", pa.float64()),
                ("set", pa.list_(pa.string())),
                ("reason", pa.string()),
                ("detail", pa.string()),
                ("state", pa.string()),
                ("made_by", pa.string()),
            ],
            metadata={_ABOUT: about.encode()},
        )


def _source(clip: Clip) -> str:
    return clip.id


def _clip_row(answer: Prediction, labels: Sequence[str]) -> dict[str, Any]:
    shares = dict(zip(answer.labels, answer.probabilities, strict=True))
    return {
        "label": answer.label,
        "confidence": answer.confidence,
        "probabilities": [shares[label] for label in labels],
        "unfamiliarity": answer.unfamiliarity,
        "set": list(answer.label_set) if answer.level is not None else None,
    }


def _window_rows(answer: Timeline) -> Iterator[dict[str, Any]]:
    for at, shares in zip(answer.times, answer.probabilities, strict=True):
        segment = answer.segment_at(float(at))
        yield {
            "time": float(at),
            "label": None if segment is None else segment.label,
            "confidence": float(shares.max()),
            "probabilities": [float(share) for share in shares],
        }


def _packed(table: Any) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue()
