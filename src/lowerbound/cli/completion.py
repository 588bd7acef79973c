"""`lowerbound completion SHELL`: a script by which a shell completes verbs, options and their choices."""

import dataclasses
import importlib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from lowerbound.cli.flags import flags
from lowerbound.cli.options import parse

Shell = Literal["bash", "zsh", "fish"]

BASH = """_lowerbound() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" verb="${{COMP_WORDS[1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs}"
    else
        case "$verb $before" in
{choices}
        esac
        case "$verb" in
{options}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _lowerbound lowerbound"""
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
"""Z shell takes the script for bash."""
FISH = """function __lowerbound_verb
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test $words[2] = $argv[1]
end"""
"""Whether a line is of a verb: its first word alone says it, for data may be called like another verb."""


@dataclass(frozen=True)
class Options:
    """Print a script for a shell, by which it completes verbs, their options, and the words that an option takes.

    Example: lowerbound completion bash >> ~/.bashrc
    """

    shell: Annotated[
        tyro.conf.Positional[Shell],
        tyro.conf.arg(
            metavar="SHELL",
            help="The shell: bash, for ~/.bashrc; zsh, for ~/.zshrc; or fish, for ~/.config/fish/config.fish.",
        ),
    ]


def main(arguments: list[str]) -> None:
    """Run the verb."""
    print(script(parse(Options, "completion", arguments).shell))


def script(shell: Shell) -> str:
    """What a shell is to read at its start."""
    from lowerbound.cli.main import VERBS

    known = {verb: choices(importlib.import_module(f"lowerbound.cli.{verb}").Options) for verb in VERBS}
    if shell == "fish":
        return "\n".join(_fish(VERBS, known))
    lines = [
        f'            "{verb} {flag}") words="{" ".join(words)}" ;;'
        for verb, options in known.items()
        for flag, words in options.items()
        if words
    ]
    options = [f'            {verb}) words="${{words:-{" ".join(options)}}}" ;;' for verb, options in known.items()]
    text = BASH.format(verbs=" ".join(VERBS), choices="\n".join(lines), options="\n".join(options))
    return ZSH + text if shell == "zsh" else text


def choices(kind: type) -> dict[str, tuple[str, ...]]:
    """The options of a verb, by their flags, with the words that each takes, where they are few.

    Arguments:
        kind: the dataclass of the verb's options.
    """
    known = {flag: _words(_hint(kind, name)) for name, flag in flags(kind).items()}
    return {**known, "--help": (), "--help-all": ()}


def _fish(verbs: dict[str, str], known: dict[str, dict[str, tuple[str, ...]]]) -> Iterator[str]:
    """A line for each verb and each option."""
    yield FISH
    for verb, purpose in verbs.items():
        yield f"complete -c lowerbound -f -n __fish_use_subcommand -a {verb} -d {_quoted(purpose)}"
    for verb, options in known.items():
        for flag, words in options.items():
            takes = f" -x -a {_quoted(' '.join(words))}" if words else ""
            yield f"complete -c lowerbound -n '__lowerbound_verb {verb}' -l {flag[2:]}{takes}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


def _hint(kind: Any, name: str) -> Any:
    """The type of an option, by its name with its sections."""
    for part in name.split("."):
        kind = typing.get_type_hints(_sections(kind))[part]
    return kind


def _sections(hint: Any) -> Any:
    return hint if dataclasses.is_dataclass(hint) else next(filter(dataclasses.is_dataclass, typing.get_args(hint)))


def _words(hint: Any) -> tuple[str, ...]:
    """The words of a type: those of a Literal, alone, optional or several."""
    if typing.get_origin(hint) is Literal:
        return tuple(map(str, typing.get_args(hint)))
    return tuple(word for each in typing.get_args(hint) for word in _words(each))
