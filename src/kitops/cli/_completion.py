"""Completion in bash, zsh, fish and PowerShell: what the shells are given, and what they ask back.

The scripts ask by running ``kit`` with ``_KIT_COMPLETE=<shell>_complete`` and the line up to the cursor in
``COMP_LINE``; the answer is one candidate a line: type (``plain``, ``dir``, ``file``), value and help, separated by
tabs. click walks the commands; only reading the line and writing the answer are ours, since click's own scripts break
at the ``:`` of a reference in bash.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem, ShellComplete, _resolve_context, split_arg_string

from kitops.cli._options import Switch
from kitops.cli._output import to_stdout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click import Command

    from kitops.cli._session import Session

_BASH = r"""_kit_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" type value help prefix=""
    local word="${line##*[[:space:]]}" mark
    COMPREPLY=()
    # bash splits words at these too, and replaces only what follows the last of them
    for mark in : = @; do
        if [[ "$COMP_WORDBREAKS" == *"$mark"* && "$word" == *"$mark"* ]]; then
            local head="${word%"$mark"*}$mark"
            (( ${#head} > ${#prefix} )) && prefix="$head"
        fi
    done
    while IFS=$'\t' read -r type value help; do
        case "$type" in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain)
                [[ "$value" == *= || "$value" == */ ]] && compopt -o nospace 2>/dev/null
                COMPREPLY+=("${value#"$prefix"}")
                ;;
        esac
    done < <(COMP_LINE="$line" _KIT_COMPLETE=bash_complete "$1" 2>/dev/null)
}
complete -F _kit_completion kit
"""

_ZSH = r"""#compdef kit
_kit_completion() {
    local -a plain described
    local type value help
    (( $+commands[kit] )) || return 1
    while IFS=$'\t' read -r type value help; do
        case "$type" in
            dir|file)
                [[ "$PREFIX" == --*=* ]] && compset -P '*='
                if [[ "$type" == dir ]]; then _path_files -/; else _path_files -f; fi
                ;;
            plain)
                if [[ -n "$help" ]]; then
                    described+=("${value//:/\\:}:$help")
                else
                    plain+=("$value")
                fi
                ;;
        esac
    done < <(COMP_LINE="${(j: :)words[1,CURRENT]}" _KIT_COMPLETE=zsh_complete command kit 2>/dev/null)
    (( $#described )) && _describe -V kit described
    (( $#plain )) && compadd -V kit -- "${plain[@]}"
    return 0
}
if [[ "${zsh_eval_context[-1]}" == loadautofunc ]]; then
    _kit_completion "$@"
else
    compdef _kit_completion kit
fi
"""

_FISH = r"""function _kit_completion
    set -l tab \t
    for row in (env COMP_LINE=(commandline -cp | string collect) _KIT_COMPLETE=fish_complete kit 2>/dev/null)
        set -l cells (string split $tab -- $row)
        switch $cells[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain
                string join $tab -- $cells[2..-1]
        end
    end
end
complete --no-files --command kit --arguments '(_kit_completion)'
"""

_POWERSHELL = r"""Register-ArgumentCompleter -Native -CommandName kit -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $line = $commandAst.ToString()
    if ($cursorPosition -lt $line.Length) { $line = $line.Substring(0, $cursorPosition) }
    elseif ($cursorPosition -gt $line.Length) { $line = $line + ' ' }
    $env:COMP_LINE = $line
    $env:_KIT_COMPLETE = 'powershell_complete'
    try { $rows = @(& kit 2>$null) }
    finally { Remove-Item Env:COMP_LINE, Env:_KIT_COMPLETE -ErrorAction SilentlyContinue }
    foreach ($row in $rows) {
        $type, $value, $help = $row -split "`t", 3
        if ($type -eq 'plain') {
            if (-not $help) { $help = $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
        }
        elseif ($type -in 'dir', 'file') {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete) |
                Where-Object { $type -eq 'file' -or $_.ResultType -eq 'ProviderContainer' }
        }
    }
}
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}


class _KitComplete(ShellComplete):
    """Reads the line up to the cursor, answers one candidate a line."""

    def source(self) -> str:
        return SCRIPTS[self.name]

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """As click's, also for the value of ``--option=value``, which keeps its option in front."""
        name, equals, value = incomplete.partition("=")
        if not (equals and name.startswith("--")):
            return super().get_completions(args, incomplete)
        switch = self._find_switch(args, name)
        if switch and not switch.instead:
            found = [CompletionItem(word) for word in ("true", "false") if word.startswith(value)]
        else:
            found = super().get_completions([*args, switch.instead[0] if switch and switch.instead else name], value)
        return [CompletionItem(f"{name}={item.value}", item.type, item.help) for item in found]

    def _find_switch(self, args: list[str], name: str) -> Switch | None:
        """The boolean option ``name`` of the command that ``args`` lead to."""
        command = _resolve_context(self.cli, self.ctx_args, self.prog_name, args).command
        return next((one for one in command.params if isinstance(one, Switch) and name in one.opts), None)

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return "\t".join((item.type, str(item.value), " ".join((item.help or "").split())))


def answer(root: Command, session: Session, question: str) -> int:
    """Answer a shell: ``<shell>_complete`` asks for candidates, ``<shell>_source`` for its script."""
    shell, _, what = question.partition("_")
    if shell not in SCRIPTS or what not in ("complete", "source"):
        return 1
    asked = type("Asked", (_KitComplete,), {"name": shell})(root, {"obj": session}, "kit", "_KIT_COMPLETE")
    to_stdout(asked.source() if what == "source" else asked.complete() + "\n")
    return 0


def list_references(session: Session | None, incomplete: str, *, remote: bool = False) -> list[str]:
    """References of the local store that begin with ``incomplete``; none where that fails: nobody would see why.

    With ``remote`` only those that name a registry.
    """
    from kitops.cli._session import Session
    from kitops.content.protocols import Run
    from kitops.store import open_store
    from kitops.store.shelf import overlook

    try:
        home = (session or Session()).home
        rows = open_store(home / "store", run=Run()).refs.list(damaged=overlook)
    except Exception:  # noqa: BLE001 - a completion that fails must not garble the line
        return []
    names: Iterable[str] = (str(row.reference) for row in rows if not (remote and row.reference.is_local))
    return [name for name in names if name.startswith(incomplete)]
