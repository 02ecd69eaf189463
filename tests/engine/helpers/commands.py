"""Calls of the workflows, with functions for the listener: what it answers, and what it does with what it hears."""

from collections.abc import Callable, Sequence
from typing import Any

from conftest import Settings

from postgres_database.running.listener import Listener, Step
from postgres_database.server.connection import Database
from postgres_database.workflows import baseline, stamp, upgrade
from postgres_database.workflows.adoption import BaselineResult
from postgres_database.workflows.standing import UpgradeResult
from postgres_database.workflows.upgrade import Move

Confirm = Callable[[str, Sequence[str]], bool]


class Heard(Listener):
    """A listener made of functions."""

    def __init__(
        self,
        confirm: Confirm = lambda *_: False,
        choose: Callable[[str], bool] | None = None,
        offer: Confirm = lambda *_: False,
        words: Callable[[str], str] = lambda _: "",
        **on: Callable[[Any], object],
    ) -> None:
        """Take the functions that answer, and those that hear: `on_step`, `on_wait`, `on_progress`, `on_note`."""
        self._confirm = confirm
        self._choose = choose
        self._offer = offer
        self._words = words
        self._on = on

    def confirm(self, question: str, details: Sequence[str]) -> bool:
        return self._confirm(question, details)

    def choose(self, question: str) -> bool | None:
        return self._choose(question) if self._choose else None

    def offer(self, question: str, details: Sequence[str]) -> bool:
        return self._offer(question, details)

    def words(self, question: str) -> str:
        return self._words(question)

    def step(self, step: Step) -> None:
        self._hear("on_step", step)

    def wait(self, who: str) -> None:
        self._hear("on_wait", who)

    def progress(self, text: str) -> None:
        self._hear("on_progress", text)

    def note(self, text: str) -> None:
        self._hear("on_note", text)

    def _hear(self, name: str, what: object) -> None:
        self._on.get(name, lambda _: None)(what)


def up(settings: Settings, database: Database, target: str = "head", **how: Any) -> UpgradeResult:
    """Upgrade a database; `how` has options of `Move` (`dry_run`, `skip_row_checks`, `wait`) and of the listener."""
    return _perform("upgrade", settings, database, target, how)


def down(settings: Settings, database: Database, target: str = "-1", **how: Any) -> UpgradeResult:
    """Downgrade a database; see `up`."""
    return _perform("downgrade", settings, database, target, how)


def _perform(
    verb: str, settings: Settings, database: Database, target: str, how: dict[str, Any]
) -> UpgradeResult:
    options = {
        name: how.pop(name)
        for name in ("dry_run", "skip_row_checks", "wait", "fast")
        if name in how
    }
    move = Move(verb, target, **options)
    return upgrade.perform(*settings, database, move, Heard(**how))


def printed(settings: Settings, open_target: Callable[[], Database], verb: str, target: str) -> str:
    """Return the SQL that `--sql` prints for an upgrade or downgrade."""
    return upgrade.offline(*settings, open_target, Move(verb, target))


def mark(
    settings: Settings,
    database: Database,
    target: str,
    *,
    purge: bool = False,
    wait: float | None = None,
    **how: Any,
) -> str:
    """Stamp a database; `how` is the listener's."""
    return stamp.write(*settings, database, target, purge=purge, wait=wait, listener=Heard(**how))


def adopt(
    settings: Settings,
    database: Database,
    message: str,
    confirm: Confirm,
    *,
    wait: float | None = None,
    with_models: bool = False,
    **how: Any,
) -> BaselineResult:
    """Write a baseline of a database and stamp it; `how` is the listener's."""
    listener = Heard(confirm, **how)
    return baseline.adopt(
        *settings, database, message, wait=wait, with_models=with_models, listener=listener
    )
