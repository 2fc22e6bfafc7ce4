# bash completion for foster, made from its option table.
_foster() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i
    COMPREPLY=()
    # Behind the command it is the command's own completion that is wanted.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) ((i++)) && break ;;
        -r|--rewrite|-k|--grace|--stop-signal|--leftover-signal|--stop-delay|-e|--ok-exit|-p|--parent-death|-u|--user|-C|--chdir|--termination-log|--log-format) ((i++)) ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)); then
        declare -F _command_offset >/dev/null && _command_offset "$i"
        return
    fi
    if ((i > COMP_CWORD)); then
        case $before in
        -r|--rewrite) mapfile -t COMPREPLY < <(compgen -W 'TERM:QUIT TERM:INT TERM:HUP TERM:USR1 HUP:0' -- "$word"); return ;;
        -k|--grace) mapfile -t COMPREPLY < <(:); return ;;
        --stop-signal) mapfile -t COMPREPLY < <(compgen -A signal -- "$word"); return ;;
        --leftover-signal) mapfile -t COMPREPLY < <(compgen -A signal -- "$word"); return ;;
        --stop-delay) mapfile -t COMPREPLY < <(:); return ;;
        -e|--ok-exit) mapfile -t COMPREPLY < <(compgen -W 'stop 143' -- "$word"); return ;;
        -p|--parent-death) mapfile -t COMPREPLY < <(compgen -A signal -- "$word"); return ;;
        -u|--user) mapfile -t COMPREPLY < <(compgen -u -- "$word"); return ;;
        -C|--chdir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
        --termination-log) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        --log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$word"); return ;;
        esac
    fi
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '-g --group -r --rewrite -k --grace --stop-signal --leftover-signal --stop-delay -w --warn-on-reap --wait -e --ok-exit -p --parent-death -s --subreaper -c --single-child -u --user -C --chdir -P --pause --termination-log --log-format -v --verbose --check -l --license -V --version -h --help' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
    esac
}
complete -F _foster foster
