#!/usr/bin/env bash
# Real servers in containers of podman's, each behind a shell, each with something to lose when `podman stop` comes:
# servers.sh NAME... Two checks for each. Under foster nothing is lost. tini ends with the shell, and the kernel kills the
# server: so the first check can fail. The servers are the machine's: a container sees /usr, read-only, and $SERVERS, where
# Debian's packages are unpacked. In $VENVS are celery, supervisor and gunicorn. $TINI is the real one.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
cd "$work"
. "$here/podman-setup.sh"

masters=$VENVS/masters/bin/python
gunicorns=$VENVS/gunicorn-23.0.0/bin/python
mounts=(-v /usr:/usr:ro -v "$VENVS:$VENVS:ro" -v "$FOSTER:/foster:ro" -v "$FIXTURE:/fixture:ro" -v "$TINI:/tini:ro")
[ ! -d "$SERVERS" ] || mounts+=(-v "$SERVERS:$SERVERS:ro")
# A Python that is not Debian's lies elsewhere.
base=$("$masters" -c 'import sys; print(sys.base_prefix)')
[ "$base" = /usr ] || mounts+=(-v "$base:$base:ro")

# An image with nothing in it but the places where things are mounted, and the names of two users.
mkdir -p "$work/host"/{etc,proc,dev,sys,tmp,usr}
for name in bin sbin lib lib64; do [ ! -d "/usr/$name" ] || ln -s "usr/$name" "$work/host/$name"; done
printf 'root:x:0:0::/:/bin/sh\nserver:x:1000:1000::/:/bin/sh\n' >"$work/host/etc/passwd"
printf 'root:x:0:\nserver:x:1000:\n' >"$work/host/etc/group"
tar -C "$work/host" -cf "$work/image.tar" . && podman import -q "$work/image.tar" host >/dev/null 2>&1

# A program of $SERVERS, or an installed one. A * stands for a version.
found() { # PATH
    local path
    for path in "$SERVERS"/$1 /$1; do if [ -e "$path" ]; then echo "$path" && return; fi; done
    echo "not ok - there is no $1" >&2
    return 1
}
client() { python3 "$here/client.py" "$@"; }
logged() { podman logs "$1" >"$work/out" 2>&1 && grep -qF -- "$2" "$work/out"; } # CONTAINER TEXT
logs() { grep -qsF -- "$2" "$dir/$1"; }                                         # FILE TEXT

# Starts a container. The shell has something to do after the server, so it cannot become it.
contain() { # NAME INIT OPTION... -- WORD...
    local name=$1 init=$2 options=()
    shift 2
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    podman run --detach --name "$name" -e "LD_LIBRARY_PATH=$SERVERS/usr/lib/$(uname -m)-linux-gnu" -e "HOME=$dir" \
        -e PYTHONDONTWRITEBYTECODE=1 "${options[@]}" "${mounts[@]}" -v "$dir:$dir" --workdir "$dir" \
        host "/$init" -- sh -c '"$@"; :' sh "${@:2}" >/dev/null
}
# PostgreSQL and php-fpm refuse to run as root. The signals are those of the image, and the lines that docs/stopping.md has
# for it.
as_user=(--user 1000:1000)
quit=(--stop-signal QUIT -e FOSTER_STOP_SIGNAL=QUIT,TERM -e FOSTER_REWRITE=QUIT:TERM -e FOSTER_LEFTOVER_SIGNAL=QUIT)

# Stops it. What it still has to do can be done once there is a file "gate": under foster when the server says that it is
# stopping; under tini when the container has ended, which is too late. Leaves its exit code in $code.
stop() { # INIT COMMAND... (true when the server is stopping)
    local stopping time=20
    [ "$1" = foster ] || time=2
    podman stop --time $time app >/dev/null 2>&1 &
    stopping=$!
    if [ "$1" = foster ]; then until_true 'the server is stopping' "${@:2}"; else wait $stopping; fi
    touch "$dir/gate"
    wait $stopping || true
    ended app
}
ended() { # CONTAINER
    code=$(podman wait "$1")
    podman logs "$1" >"$work/out" 2>&1
    podman rm --force --time 0 "$1" >/dev/null
}

# Each server leaves in $saved what it has got to keep: the answer to a client, or what it said of a task.

# A task that a worker has begun, and which celery has acknowledged: nobody else will do it.
celery() { # INIT
    cp "$here/servers/tasks.py" "$dir"
    contain broker foster -- "$(found usr/bin/redis-server)" --port 0 --unixsocket "$dir/broker" --save ''
    contain app "$1" -- "$masters" -m celery --app=tasks worker --concurrency=2 --without-gossip --without-mingle \
        --without-heartbeat
    until_true 'the task has begun' logged app 'task started'
    unacknowledged() { client redis "$dir/broker" 'LLEN celery' 'HLEN unacked'; }
    no_unacknowledged() { [ "$(unacknowledged)" = $':0\n:0' ]; }
    until_true 'the task is acknowledged' no_unacknowledged
    stop "$1" logged app 'worker: Warm shutdown (MainProcess)'
    saved=$(said '^task done$'),$(unacknowledged | tr -d ':\n')
    podman rm --force --time 0 broker >/dev/null
}

# Two programs, each a master whose worker has a task; back is stopped when front has ended.
supervisord() { # INIT
    sed "s|DIRECTORY|$dir|" "$here/servers/supervisord.conf" >"$dir/supervisord.conf"
    contain app "$1" -- "$masters" -m supervisor.supervisord -c supervisord.conf
    both_have_begun() { podman logs app 2>&1 | grep -c '^worker: task started$' | grep -qx 2; }
    until_true 'both have a task' both_have_begun
    stop "$1" logged app 'master: warm shutdown'
    saved=$(grep -c '^worker: task done$' "$work/out" || true)
    saved+=,$(sed -n 's/.*stopped: \([a-z]*\) (exit status 0)$/\1/p' "$dir/log" | paste -sd,)
}

in_flight() { # CLIENT-WORD... (asks in the background, for a request that is worked on when there is a file "in-flight")
    client "$@" >"$dir/answer" &
    asking=$!
    until_true 'the request is in flight' test -e "$dir/in-flight"
}
answered() {
    wait $asking
    saved=$(cat "$dir/answer")
}

gunicorn() { # INIT
    cp "$here/servers/app.py" "$dir"
    contain app "$1" -- "$gunicorns" -m gunicorn --bind "unix:$dir/socket" app:application
    in_flight http "$dir/socket"
    stop "$1" logged app 'Handling signal: term'
    answered
}

# On SIGTERM uWSGI starts again instead of ending, and without the hook SIGQUIT cuts its requests off.
uwsgi() { # INIT
    cp "$here/servers/app.py" "$dir"
    contain app "$1" -e FOSTER_LEFTOVER_SIGNAL=QUIT -- "$(found usr/bin/uwsgi-core)" --master --http-socket "$dir/socket" \
        --plugin "$(found 'usr/lib/uwsgi/plugins/python3*_plugin.so')" --wsgi-file app.py \
        --hook-master-start 'unix_signal:3 gracefully_kill_them_all' --hook-master-start print:ready
    until_true 'the master has its signal handlers' logged app 'running "print:ready" (master-start)'
    in_flight http "$dir/socket"
    stop "$1" logged app 'graceful shutdown triggered'
    answered
}

php_fpm() { # INIT
    cp "$here/servers/slow.php" "$dir"
    sed "s|DIRECTORY|$dir|" "$here/servers/php-fpm.conf" >"$dir/php-fpm.conf"
    contain app "$1" "${as_user[@]}" "${quit[@]}" -- "$(found 'usr/sbin/php-fpm*')" -n --nodaemonize --fpm-config "$dir/php-fpm.conf"
    in_flight fastcgi "$dir/socket" "$dir/slow.php"
    stop "$1" logs log 'Finishing ...'
    answered
}

# A download of which the client reads the head alone before the server is stopping. It is far more than buffers hold.
nginx() { # INIT
    sed "s|DIRECTORY|$dir|" "$here/servers/nginx.conf" >"$dir/nginx.conf"
    truncate --size 16M "$dir/large"
    contain app "$1" "${as_user[@]}" "${quit[@]}" -- "$(found usr/sbin/nginx)" -p "$dir" -c nginx.conf -e stderr
    in_flight download "$dir/socket" "$dir"
    stop "$1" logged app 'gracefully shutting down'
    answered
    # How much of the rest it has got before depends on the buffers.
    [ "$saved" = 16777216 ] || saved=
}

# What it was given is in memory, until it has saved it.
redis() { # INIT
    for time in before after; do
        contain app "$1" "${as_user[@]}" -- "$(found usr/bin/redis-server)" --port 0 --unixsocket "$dir/socket" --save '900 1'
        if [ $time = before ]; then
            is_set() { [ "$(client redis "$dir/socket" 'SET colour green')" = +OK ]; }
            until_true 'the key is set' is_set
            stop "$1" logged app 'Received SIGTERM'
            rm -f "$dir/socket"
        fi
    done
    local was=$code
    saved=$(client redis "$dir/socket" 'GET colour')
    podman stop app >/dev/null && ended app
    code=$was
}

# A client is connected. PostgreSQL tells it the reason, writes everything down, and has nothing to recover at the next start.
# tini passes SIGINT on, on which a shell waits for its program, and podman kills all of them.
postgres() { # INIT
    local programs server
    programs=$(dirname "$(found 'usr/lib/postgresql/*/bin/postgres')")
    contain app foster "${as_user[@]}" -- "$programs/initdb" -D "$dir/data" --username=postgres --auth=trust --no-locale --no-sync
    ended app
    contain app "$1" "${as_user[@]}" --stop-signal INT -e FOSTER_REWRITE=INT:TERM -e FOSTER_LEFTOVER_SIGNAL=INT \
        -- "$programs/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c dynamic_shared_memory_type=mmap
    until_true 'PostgreSQL is ready' logged app 'ready to accept connections'
    in_flight postgres "$dir/.s.PGSQL.5432" "$dir"
    stop "$1" logged app 'received fast shutdown request'
    answered
    local was=$code
    contain app foster "${as_user[@]}" -- "$programs/pg_controldata" "$dir/data"
    ended app
    code=$was
    saved+=,$(sed -n 's/^Database cluster state: *//p' "$work/out")
}

for server in "$@"; do
    for init in foster tini; do
        # It has the same path in the container, whose user may write there.
        dir=$(mktemp -d "$work/$server.XXX")
        chmod 777 "$dir"
        $server $init
        case $server,$init in
        celery,foster) is 'celery: foster waits for its warm shutdown' "$saved $code" 'yes,00 143' ;;
        celery,tini) is 'celery: under tini nobody does the task' "$saved $code" 'no,00 143' ;;
        supervisord,foster) is 'supervisord: its programs are stopped in order' "$saved $code" '2,front,back 143' ;;
        supervisord,tini) is 'supervisord: under tini its programs lose their tasks' "$saved $code" '0, 143' ;;
        gunicorn,foster | uwsgi,foster) is "$server: the request is answered" "$saved $code" 'hello 143' ;;
        php_fpm,foster) is "$server: the request is answered" "$saved $code" 'hello 143' ;;
        gunicorn,tini | uwsgi,tini) is "$server: under tini the request is lost" "$saved $code" ' 143' ;;
        php_fpm,tini) is "$server: under tini the request is lost" "$saved $code" ' 131' ;;
        nginx,foster) is 'nginx: the download is finished' "$saved $code" '16777216 143' ;;
        nginx,tini) is 'nginx: under tini the download is cut' "$saved $code" ' 131' ;;
        redis,foster) is 'redis: the key is saved' "$saved $code" 'green 143' ;;
        redis,tini) is 'redis: under tini the key is lost' "$saved $code" '$-1 143' ;;
        postgres,foster) is 'PostgreSQL: a fast shutdown' "$saved $code" 'administrator command,shut down 143' ;;
        postgres,tini) is 'PostgreSQL: under tini it is killed' "$saved $code" ',in production 137' ;;
        esac
    done
done
finished
