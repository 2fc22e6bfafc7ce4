# bash completion for foster, made from its option table.
_foster() {
    local line=$COMP_LINE words=() start=() i part
    # bash cuts words at = and : too. What follows without a blank belongs to the word in front of it.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        part=${COMP_WORDS[i]}
        if ((i)) && [[ $line != [[:blank:]]* ]]; then
            words[-1]+=$part
        else
            words+=("$part") start+=("$i")
        fi
        line=${line#"${line%%[![:blank:]]*}"}
        line=${line#"$part"}
    done
    local last=$((${#words[@]} - 1)) word=${words[-1]} option=
    COMPREPLY=()
    # The options: where the command begins behind them, or which of them the last word is the value of.
    for ((i = 1; i < last; i++)); do
        case ${words[i]} in
        --) ((i++)); break ;;
        -r|--rewrite|-k|--grace|--stop-signal|--leftover-signal|--stop-delay|-e|--ok-exit|-p|--parent-death|-u|--user|-C|--chdir|--termination-log|--log-format) ((++i == last)) && option=${words[i - 1]} ;;
        --watch|--check)
            if ((i + 1 == last)); then
                [[ $word != -* ]] && option=${words[i]}
            elif [[ ${words[i + 1]} == @(zombies|pids|every)=* ]]; then
                ((++i))
            fi ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < last)); then
        # Behind the command it is the command's own completion that is wanted.
        declare -F _command_offset >/dev/null && _command_offset "${start[i]}"
        return
    fi
    local before= value=$word
    if [[ -z $option && $word == --*=* ]]; then
        option=${word%%=*} value=${word#*=}
        before=$option=
    fi
    case $option in
    '')
        case $word in
        -*) mapfile -t COMPREPLY < <(compgen -W '-g --group -r --rewrite -k --grace --stop-signal --leftover-signal --stop-delay -w --warn-on-reap --wait -e --ok-exit -p --parent-death -s --subreaper -c --single-child -u --user -C --chdir -P --pause --termination-log --log-format -v --verbose --expand-env --explain --watch --check -l --license -V --version -h --help' -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
        esac ;;
    -r|--rewrite)
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'TERM:QUIT TERM:INT TERM:HUP TERM:USR1 HUP:0' -- "$value") ;;
    --stop-signal)
        [[ $value == SIG* ]] && before+=SIG value=${value#SIG}
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -- "$value") ;;
    --leftover-signal)
        [[ $value == SIG* ]] && before+=SIG value=${value#SIG}
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -- "$value") ;;
    -e|--ok-exit)
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'stop 143' -- "$value") ;;
    -p|--parent-death)
        [[ $value == SIG* ]] && before+=SIG value=${value#SIG}
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -- "$value") ;;
    -u|--user)
        mapfile -t COMPREPLY < <(compgen -P "$before" -u -- "$value") ;;
    -C|--chdir)
        mapfile -t COMPREPLY < <(compgen -P "$before" -d -- "$value") ;;
    --termination-log)
        mapfile -t COMPREPLY < <(compgen -P "$before" -f -- "$value") ;;
    --log-format)
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'text json' -- "$value") ;;
    --watch)
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'zombies=100 pids=90% every=30s zombies=100,pids=90%,every=30s' -- "$value"; [[ $before ]] || compgen -c -- "$value") ;;
    --check)
        mapfile -t COMPREPLY < <(compgen -P "$before" -W 'zombies=100 pids=90% zombies=100,pids=90%' -- "$value") ;;
    esac
    # bash puts in only what comes behind its last cut.
    part=${COMP_WORDS[COMP_CWORD]}
    [[ $part == [=:] ]] && part=
    COMPREPLY=("${COMPREPLY[@]#"${word%"$part"}"}")
}
complete -F _foster foster
