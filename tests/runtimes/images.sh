# Sourced: root file systems for the images that Dockerfile.example and docs/examples name, made from what this machine has,
# since there is no network. Stand-ins where something would be fetched, and the real thing for everything else: cargo
# builds foster, Python runs gunicorn.
# $TOOLCHAIN: rustc's sysroot. $REGISTRY: cargo's. $SITE: a site-packages with gunicorn 23.

busybox_root() { # DIR
    mkdir -p "$1"/{bin,etc,proc,dev,sys,tmp,root,usr/bin,usr/lib,usr/lib64}
    chmod 1777 "$1/tmp"
    ln -s usr/lib "$1/lib" && ln -s usr/lib64 "$1/lib64"
    cp -L "$(command -v busybox)" "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"; done
    echo 'root:x:0:0::/root:/bin/sh' >"$1/etc/passwd"
    echo 'root:x:0:' >"$1/etc/group"
}

# The compiler itself is mounted while the image is built: BUILD_MOUNTS.
rust_root() { # DIR
    busybox_root "$1"
    mkdir -p "$1"/{toolchain,cargo/registry,stand-in}
    ln -s /usr/bin/gcc "$1/stand-in/cc"
    # The targets are those that the machine's compiler has.
    stand_in "$1/stand-in/rustup" '[ "$1 $2" = "target add" ] && [ -d "/toolchain/lib/rustlib/$3" ]'
}
RUST_ENV=(--change 'ENV PATH=/stand-in:/toolchain/bin:/bin:/usr/bin' --change 'ENV CARGO_HOME=/cargo'
    --change 'ENV CARGO_NET_OFFLINE=true')
BUILD_MOUNTS=()
for dir in /usr/bin /usr/lib /usr/lib64 /usr/libexec; do [ ! -d $dir ] || BUILD_MOUNTS+=(-v "$dir:$dir:ro"); done
BUILD_MOUNTS+=(-v "$TOOLCHAIN:/toolchain:ro" -v "$REGISTRY:/cargo/registry:ro")

# Debian's Python with the libraries that it is linked to.
python_root() { # DIR
    busybox_root "$1"
    local python stdlib library
    python=$(readlink -f /usr/bin/python3)
    stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    cp "$python" "$1/usr/bin/python3"
    mkdir -p "$1$stdlib" "$1/usr/local/bin" "$1/stand-in"
    tar -C "$stdlib" --exclude=test --exclude=__pycache__ --exclude='config-*' -c . | tar -C "$1$stdlib" -x
    ldd "$python" "$stdlib"/lib-dynload/*.so | grep -o '/[^ ]*\.so[^ :]*' | sort -u | while read -r library; do
        [ "${library#"$stdlib"}" != "$library" ] || install -D "$library" "$1/usr/${library#/usr}"
    done
    cp -r "$SITE" "$1/stand-in/site-packages"
    stand_in "$1/stand-in/pip" '[ "$*" = "install --no-cache-dir gunicorn==23.0.0" ] || exit 1' \
        'printf "#!/bin/sh\nPYTHONPATH=/stand-in/site-packages exec python3 -m gunicorn \"\$@\"\n" >/usr/local/bin/gunicorn' \
        'chmod 755 /usr/local/bin/gunicorn'
    stand_in "$1/stand-in/useradd" '[ "$*" = "--system --uid 900 --no-create-home app" ] || exit 1' \
        'echo app:x:900:900::/home/app:/bin/sh >>/etc/passwd' 'echo app:x:900: >>/etc/group'
}
PYTHON_ENV=(--change 'ENV PATH=/stand-in:/usr/local/bin:/bin:/usr/bin' --change 'CMD ["python3"]')

stand_in() { # FILE LINE...
    { echo '#!/bin/sh -e' && printf '%s\n' "${@:2}"; } >"$1"
    chmod 755 "$1"
}
