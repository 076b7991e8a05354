"""What `--help` says: all that a command's options say of themselves, defaults too."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from amodal_bench.cli import application

app = application()
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NAMED = re.compile(r"\[default: [^\]]+\]|\(default: [^)]+\)")


def squeezed(text: str) -> str:
    """Without blanks and line ends: where lines are broken does not matter."""
    return "".join(text.split())


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--help"])
    assert done.exit_code == 0, done.output
    return squeezed(done.output)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_every_word_of_its_options(name: str) -> None:
    text = shown(name)
    for option in COMMANDS[name].params:
        assert squeezed(option.help or "") in text, option.name
        assert squeezed(option.metavar or "") in text, option.name
        if option.default is not None and getattr(option, "show_default", False) and not option.is_flag:
            assert squeezed(f"[default: {option.default}") in text, option.name


def test_defaults_that_are_named_in_words_are_among_them() -> None:
    named = [
        m[0] for command in COMMANDS.values() for option in command.params for m in NAMED.finditer(option.help or "")
    ]
    assert len(named) > 20
    assert "[default: results]" in named
    assert squeezed("Where runs are kept [default: results].") in shown("bench")


def test_the_list_of_commands_is_not_cut() -> None:
    text = shown()
    for command in COMMANDS.values():
        assert squeezed(command.short_help) in text


def test_no_command_at_all_shows_the_help(cli: Callable[..., Any]) -> None:
    done = cli()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")
    assert squeezed("verify Make every count again") in squeezed(done.stderr)
