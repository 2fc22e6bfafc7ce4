# fish completion for foster, made from its option table.
# Whether the command is still to come: behind it, its own options are wanted.
function __fish_foster_before_command
    set -l words (commandline -opc)[2..-1]
    while set -q words[1]
        switch $words[1]
            case -r --rewrite -k --grace --stop-signal --leftover-signal --stop-delay -e --ok-exit -p --parent-death -u --user -C --chdir --termination-log --log-format
                set -e words[1]
            case --
                return 1
            case '-*' 'zombies=*' 'pids=*' 'every=*'
            case '*'
                return 1
        end
        set -e words[1]
    end
end
complete -c foster -x -a '(__fish_complete_subcommand -r --rewrite -k --grace --stop-signal --leftover-signal --stop-delay -e --ok-exit -p --parent-death -u --user -C --chdir --termination-log --log-format)'
complete -c foster -n __fish_foster_before_command -s g -l group -d 'signal the command\'s whole process group'
complete -c foster -n __fish_foster_before_command -s r -l rewrite -x -a 'TERM:QUIT TERM:INT TERM:HUP TERM:USR1 HUP:0' -d 'forward TO when FROM arrives (TO 0: drop)'
complete -c foster -n __fish_foster_before_command -s k -l grace -x -d 'SIGKILL what is still alive this long after a stop request'
complete -c foster -n __fish_foster_before_command -l stop-signal -x -a 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -d 'SIGNAL is a stop request (repeat; default TERM, INT)'
complete -c foster -n __fish_foster_before_command -l leftover-signal -x -a 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -d 'ask leftovers to end with SIGNAL (default TERM)'
complete -c foster -n __fish_foster_before_command -l stop-delay -x -d 'hold a stop request this long before forwarding it'
complete -c foster -n __fish_foster_before_command -s w -l warn-on-reap -d 'report reaped orphans as warnings instead of debug'
complete -c foster -n __fish_foster_before_command -l wait -d 'outlive the command until its daemons have ended'
complete -c foster -n __fish_foster_before_command -s e -l ok-exit -x -a 'stop 143' -d 'report CODE as 0; stop: the end by a stop request\'s own signal'
complete -c foster -n __fish_foster_before_command -s p -l parent-death -x -a 'HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX' -d 'get SIGNAL when foster\'s parent dies'
complete -c foster -n __fish_foster_before_command -s s -l subreaper -d 'accepted; already the default when not PID 1'
complete -c foster -n __fish_foster_before_command -s c -l single-child -d 'accepted; already the default'
complete -c foster -n __fish_foster_before_command -s u -l user -x -a '(__fish_complete_users)' -d 'run the command as USER, by name or id'
complete -c foster -n __fish_foster_before_command -s C -l chdir -x -a '(__fish_complete_directories)' -d 'run the command in DIR'
complete -c foster -n __fish_foster_before_command -s P -l pause -d 'run no command: reap, and end on SIGTERM or SIGINT'
complete -c foster -n __fish_foster_before_command -l termination-log -r -F -d 'append the reason of an abnormal end to PATH'
complete -c foster -n __fish_foster_before_command -l log-format -x -a 'text json' -d 'say it as text (the default) or json, one object a line'
complete -c foster -n __fish_foster_before_command -s v -l verbose -d 'say more: info, -vv debug, -vvv trace'
complete -c foster -n __fish_foster_before_command -l expand-env -d 'expand $NAME, ${NAME}, ${NAME:-word}, ${NAME-word}, ${NAME:?message} and $$ in COMMAND and ARGs'
complete -c foster -n __fish_foster_before_command -l explain -d 'print how all of this is understood, and where it comes from; runs nothing'
complete -c foster -n __fish_foster_before_command -l watch -f -a 'zombies=100 pids=90% every=30s zombies=100,pids=90%,every=30s' -d 'look every 30 s as --check does, and warn when a limit is passed'
complete -c foster -n __fish_foster_before_command -l check -f -a 'zombies=100 pids=90% zombies=100,pids=90%' -d 'health probe for zombies and pids; runs no command'
complete -c foster -n __fish_foster_before_command -s l -l license -d 'print the license and exit'
complete -c foster -n __fish_foster_before_command -s V -l version -d 'print the version and exit'
complete -c foster -n __fish_foster_before_command -s h -l help -d 'print this help and exit'
