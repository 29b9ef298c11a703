"""``pier completion SHELL``: a script for the shell, which asks ``pier __complete WORDS…`` at each press of the key."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options

_BASH = r"""# bash completion of pier:  source <(pier completion bash)
_pier() {
    local line word current=${COMP_LINE:0:COMP_POINT} cut=
    local -a words
    read -ra words <<<"$current"
    [[ $current == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    # What comes before the last break within the word is on the line already.
    [[ $word == *[:=]* && $COMP_WORDBREAKS == *:* ]] && cut=${word%"${word##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            line=${line%%$'\t'*}
            COMPREPLY+=("${line#"$cut"}")
        fi
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _pier pier
"""
_ZSH = r"""#compdef pier
# zsh completion of pier:  source <(pier completion zsh), or a file _pier in a directory of $fpath
_pier() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
        elif [[ -n $line ]]; then
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( ${#found} )) && _describe pier found
}
if [[ $funcstack[1] == _pier ]]; then _pier "$@"; else compdef _pier pier; fi
"""
_FISH = r"""# fish completion of pier:  pier completion fish | source
function __pier_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (command $words[1] __complete $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            printf '%s\n' $line
        end
    end
end
complete -c pier -f -a '(__pier_complete)'
"""
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    try:
        out.put(SCRIPTS[arguments[0]])
    except KeyError:
        raise Failure(f"{arguments[0]}: not one of {', '.join(SCRIPTS)}") from None
    return 0


COMMAND = Command(_run, "bash|zsh|fish", least=1, most=1, text=(
    "Prints a script that the shell is to read: source <(pier completion bash). Names of containers, images, networks\n"
    "and volumes are the engine's, asked for at each press of the key."
))
