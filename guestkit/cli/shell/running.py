"""Commands from their text to an exit status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guestkit.cli.ending import notes
from guestkit.cli.shell import actions
from guestkit.cli.shell.command import Leave
from guestkit.cli.shell.helping import COMMANDS, manual
from guestkit.cli.shell.parsing import Unfinished, Word, commands
from guestkit.cli.shell.session import LOST, Session
from guestkit.cli.usage import UsageError

#: What became of a session whose appliance has ended.
ANEW = "the appliance has ended; the next command opens the disk anew, without what was mounted by hand"


def run_script(session: Session, lines: Iterable[str], *, keep_going: bool = False) -> int:
    """Run commands until one fails or `exit`; return the exit status of the first that failed, else 0.

    Messages about a script on stdin tell its line: with --rw, how far it came matters.

    keep_going: run those after a failed one, too
    """
    failed = 0
    try:
        for number, line in enumerate(lines, 1):
            session.screen.place = f"line {number}: " if session.script_on_stdin else ""
            for words in _words(session, line):
                status = 2 if words is None else _run_in_script(session, words)
                failed = failed or status
                if failed and not keep_going:
                    return failed
    except Leave:
        pass
    finally:
        session.screen.place = ""
    return failed


def _run_in_script(session: Session, words: Sequence[Word]) -> int:
    try:
        return run(session, words)
    except KeyboardInterrupt as ended:
        lost = session.lost(ended) and session.may_lose
        if not notes(ended):
            ended.add_note(f"{session.screen.place}{words[0]} is not finished{LOST if lost else ''}")
        raise


def run_line(session: Session, line: str) -> None:
    """Run what a person has typed, until a command fails or Ctrl-C ends it. Raise Leave at `exit`."""
    try:
        for words in _words(session, line):
            if words is None or run(session, words) != 0:
                return
    except KeyboardInterrupt as ended:
        if type(ended) is not KeyboardInterrupt:  # a signal that ends the program
            raise
        session.screen.tell("info", ": ".join(["interrupted", *notes(ended)]))
        _tell_if_lost(session, ended)


def _words(session: Session, line: str) -> Sequence[list[Word] | None]:
    """Return the commands of a line; None alone if it cannot be understood, which is told."""
    try:
        return commands(line)
    except Unfinished as error:
        session.screen.tell("error", str(error))
        return [None]


def run(session: Session, words: Sequence[Word]) -> int:
    """Run one command; tell what went wrong and return the exit status: 1, or 2 for wrong usage."""
    try:
        return _run(session, words)
    except (Leave, BrokenPipeError):  # nobody reads what is written
        raise
    except (UsageError, Unfinished) as error:
        session.screen.tell("error", str(error))
        return 2
    except Exception as error:
        session.tell_error(words[0] if words[0] in COMMANDS else "", error)
        _tell_if_lost(session, error)
        return 1


def _run(session: Session, words: Sequence[Word]) -> int:
    name, *rest = words
    command = COMMANDS.get(name)
    if command is None:
        action = actions.action_named(name)
        if not action:
            raise UsageError(f"there is no command {name!r}{actions.similar(name, list(COMMANDS))}")
        if rest == ["--help"]:
            session.screen.write(manual(action))
        else:
            actions.call(session, action, rest)
        return 0
    if rest == ["--help"]:
        session.screen.write(manual(name))
        return 0
    given = command.parser().parse_words(rest)
    if command.changes:
        session.check_writable(name)
    return command.run(session, given) or 0


def _tell_if_lost(session: Session, reason: BaseException) -> None:
    if session.lost(reason):
        session.screen.tell("warning", ANEW + (LOST if session.may_lose else ""))
