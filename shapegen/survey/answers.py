"""The readers' answers: one SQLite file, only ever added to, on the disk before the server says so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from shapegen.errors import CorruptFileError, RunFolderError

CHOICES = ("real", "synthetic")
CONFIDENCES = (1, 5)
"""From a guess to certain."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    reader TEXT NOT NULL,
    answer TEXT NOT NULL,
    item TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN ('real', 'synthetic')),
    confidence INTEGER NOT NULL CHECK (confidence BETWEEN 1 AND 5),
    reasons TEXT NOT NULL,
    comment TEXT NOT NULL,
    seconds REAL NOT NULL CHECK (seconds >= 0),
    received TEXT NOT NULL,
    UNIQUE (reader, answer)
);
CREATE TRIGGER IF NOT EXISTS never_changed BEFORE UPDATE ON answers
BEGIN SELECT RAISE(ABORT, 'answers are only added to'); END;
CREATE TRIGGER IF NOT EXISTS never_deleted BEFORE DELETE ON answers
BEGIN SELECT RAISE(ABORT, 'answers are only added to'); END;
"""
_COLUMNS = "answer, item, choice, confidence, reasons, comment, seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reader said of one shape, shown once.

    Args:
        answer: made by the browser, so that an answer that is sent twice counts once.
        item: id of the showing.
        choice: "real" or "synthetic".
        confidence: 1, a guess, to 5, certain.
        reasons: those that were chosen.
        comment: free text.
        seconds: how long the shape was looked at, without pauses.
    """

    answer: str
    item: str
    choice: str
    confidence: int
    reasons: tuple[str, ...]
    comment: str
    seconds: float

    @property
    def signed(self) -> int:
        """The confidence, negative where the answer is real: -5, certainly real, to 5, certainly synthetic."""
        return self.confidence if self.choice == "synthetic" else -self.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it was kept.

    Args:
        revision: counts all answers of the study; of several to one showing the last counts.
        reader: name.
        received: when, UTC, ISO 8601.
        answer: what was said.
    """

    revision: int
    reader: str
    received: str
    answer: Answer


class Answers:
    """The answers of a study, open for writing; may be used from several threads.

    The file is in write-ahead mode and synchronised at every commit: what was acknowledged survives the end of the
    process and of the machine.

    Raises:
        CorruptFileError: the file is no database of answers.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise CorruptFileError(f"{path}: not a database of answers ({error}); restore it from a copy") from error

    def close(self) -> None:
        """Close the file; everything was written before."""
        with self._lock:
            self._connection.close()

    def add(self, reader: str, answers: Iterable[Answer]) -> None:
        """Keep answers, all or none; on the disk when this returns. One that is there already is not kept twice.

        Raises:
            sqlite3.Error: they were not written (a full disk, say).
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = [
            (reader, each.answer, each.item, each.choice, each.confidence, json.dumps(each.reasons), each.comment,
             each.seconds, now)
            for each in answers
        ]  # fmt: skip
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    f"INSERT INTO answers (reader, {_COLUMNS}, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (reader, answer) DO NOTHING",
                    rows,
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def latest(self, reader: str) -> dict[str, Answer]:
        """Return a reader's answer that counts, by the id of the showing."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM answers WHERE reader = ? ORDER BY revision", (reader,)
            ).fetchall()
        return {answer.item: answer for answer in map(_answer, rows)}


def read_answers(path: Path) -> list[Kept]:
    """Read all answers in the order in which they came, also while a server runs.

    Raises:
        RunFolderError: there are none yet.
        CorruptFileError: the file is no database of answers.
    """
    if not path.exists():
        raise RunFolderError(f"{path.parent} has no answers yet; `shapegen survey serve {path.parent}` collects them")
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return list(_kept(connection))
    except sqlite3.DatabaseError as error:
        raise CorruptFileError(f"{path}: not a database of answers ({error}); restore it from a copy") from error


def _kept(connection: sqlite3.Connection) -> Iterator[Kept]:
    for revision, reader, received, *row in connection.execute(
        f"SELECT revision, reader, received, {_COLUMNS} FROM answers ORDER BY revision"
    ):
        yield Kept(revision=revision, reader=reader, received=received, answer=_answer(tuple(row)))


def _answer(row: tuple[str, str, str, int, str, str, float]) -> Answer:
    answer, item, choice, confidence, reasons, comment, seconds = row
    return Answer(
        answer=answer,
        item=item,
        choice=choice,
        confidence=confidence,
        reasons=tuple(json.loads(reasons)),
        comment=comment,
        seconds=seconds,
    )
