# The front door: `make` says what there is. The real build is CMakeLists.txt (the C side) and Cargo.toml (the Rust core);
# nothing here is needed to package encke.
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CMAKE   ?= cmake
MAKEFLAGS += --no-print-directory
NEED    := sh cmake/need.sh
C_TOOLS := rust gcc:cc libc6-dev cmake:cmake

.PHONY: help run test bench bench-quick install header check-targets clean

help:
	@echo 'make run            build, then serve an example on 127.0.0.1:8080 (a select() loop, the plainest host)'
	@echo 'make test           every test: Rust, the C side, the installed package'
	@echo 'make bench          measure beside the usual C servers, about 10 minutes; bench-quick: ours and the floor, 1 minute'
	@echo 'make install        PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make header         write include/encke.h and cmake/encke.map anew from src/capi'
	@echo 'make check-targets  type-check the code for FreeBSD and macOS'
	@echo 'make clean          remove what the above made'
	@echo
	@echo 'Needs Rust (cargo). Other missing tools are installed by name on Debian and Ubuntu.'

run:
	@$(NEED) $(C_TOOLS)
	@$(CMAKE) --log-level=WARNING -S . -B $(BUILD)
	@$(CMAKE) --build $(BUILD) --parallel 2 --target select_loop
	@exec $(BUILD)/c-examples/select_loop 127.0.0.1:8080

test:
	@sh cmake/test.sh

bench bench-quick:
	@$(MAKE) --no-print-directory -C benches $@

install:
	@$(NEED) $(C_TOOLS)
	$(CMAKE) -S . -B $(BUILD)/install -DCMAKE_INSTALL_PREFIX='$(PREFIX)' -DENCKE_EXAMPLES=OFF -DENCKE_TESTS=OFF
	$(CMAKE) --build $(BUILD)/install --parallel 2
	DESTDIR='$(DESTDIR)' $(CMAKE) --install $(BUILD)/install --strip
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ] && command -v ldconfig > /dev/null; then ldconfig; fi

header:
	@$(NEED) rust gcc:cc libc6-dev
	ENCKE_UPDATE_HEADER=1 cargo test --locked --test header

check-targets:
	@sh cmake/check-targets.sh

clean:
	rm -rf $(BUILD) benches/state
	cargo clean
