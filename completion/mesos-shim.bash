# bash completion for mesos-shim. It needs no other file; with the package bash-completion it is loaded by its name.

_mesos_shim() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} index
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "run explain validate ps usage enter gc doctor --help --version" -- "$word"))
        return
    fi
    # readline breaks words at '=' and ':' too.
    if [[ $word == = ]]; then
        word=""
    elif [[ $word == : ]]; then
        previous=: word=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    # What follows '--' is a command of its own: its name, then whatever completes its arguments.
    for ((index = 2; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} == -- ]]; then
            if ((COMP_CWORD == index + 1)); then
                COMPREPLY=($(compgen -c -- "$word"))
            elif declare -F _command_offset >/dev/null; then
                _command_offset $((index + 1))
            else
                compopt -o default
            fi
            return
        fi
    done
    case $previous in
    --isolation)
        _mesos_shim_list "$word"
        return
        ;;
    --on-unenforceable)
        COMPREPLY=($(compgen -W "refuse usage-only" -- "$word"))
        return
        ;;
    --format)
        COMPREPLY=($(compgen -W "table json openmetrics" -- "$word"))
        return
        ;;
    --user)
        COMPREPLY=($(compgen -u -- "$word"))
        return
        ;;
    --sandbox)
        compopt -o filenames
        COMPREPLY=($(compgen -d -- "$word"))
        return
        ;;
    --config | --container-info | --volume | :)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$word"))
        return
        ;;
    --container-id | --cpus | --mem | --status-fd | --keep-fd | --watch)
        return
        ;;
    esac
    case $command in
    run | explain)
        COMPREPLY=($(compgen -W "--volume --container-info --sandbox --container-id --isolation --user --cpus --mem
            --supervise --rm --status-fd --keep-fd --config --on-unenforceable --json --help --" -- "$word"))
        ;;
    usage)
        if [[ $word == -* ]]; then
            COMPREPLY=($(compgen -W "--format --watch --config --help" -- "$word"))
        else
            _mesos_shim_ids "$word"
        fi
        ;;
    enter)
        if [[ $word == -* || COMP_CWORD -gt 2 ]]; then
            COMPREPLY=($(compgen -W "--config --help --" -- "$word"))
        else
            _mesos_shim_ids "$word"
        fi
        ;;
    ps | doctor) COMPREPLY=($(compgen -W "--json --config --help" -- "$word")) ;;
    gc) COMPREPLY=($(compgen -W "--config --help" -- "$word")) ;;
    validate)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$word"))
        ;;
    esac
}

# Ids of the containers that run here: letters, digits, '-', '_' and '.' only, so they need no quoting.
_mesos_shim_ids() {
    local ids
    ids=$("${COMP_WORDS[0]}" ps 2>/dev/null | awk 'NR > 1 { print $1 }')
    COMPREPLY=($(compgen -W "$ids" -- "$1"))
}

# A comma separated list: the part after the last comma is completed.
_mesos_shim_list() {
    local before=""
    [[ $1 == *,* ]] && before=${1%,*},
    COMPREPLY=($(compgen -P "$before" -W "filesystem/shared posix/cpu posix/mem cgroups/cpu cgroups/mem
        namespaces/pid namespaces/ipc disk/du" -- "${1##*,}"))
    compopt -o nospace
}

complete -F _mesos_shim mesos-shim
