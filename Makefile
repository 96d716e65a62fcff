# The front door: `make` says what there is. The real build is CMakeLists.txt (the C side) and Cargo.toml (the Rust core);
# nothing here is needed to package encke.
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
CMAKE   ?= cmake
T       ?= 60
EACH    ?= 5
CASES   ?= 200000
SEED    ?= 1
SEEDS   ?= 2000
MAKEFLAGS += --no-print-directory
NEED    := sh cmake/need.sh
C_TOOLS := rust gcc:cc libc6-dev cmake:cmake

.PHONY: help run run-select test clients sim mutants fuzz fuzz-coverage differential conformance faults attacks soak model miri sanitize bench bench-quick bench-push bench-bus \
  install header check-targets clean

help:
	@echo 'make run            build, then serve the message bus with a chat on http://localhost:8888 and https://localhost:4444'
	@echo 'make run-select     the same with an example on ports 8080 and 8443: a select() loop, the plainest host'
	@echo '                    HTTP_AT=ADDRESS:PORT HTTPS_AT=ADDRESS:PORT: elsewhere'
	@echo 'make test           every test: Rust, the C side, the installed package'
	@echo 'make clients        server push with outside clients: Chromium, ws and eventsource of npm, websockets and httpx-sse of PyPI, curl; encke-dump with outside servers'
	@echo 'make sim            the whole engine in a simulated world: SEEDS=$(SEEDS), or SEED=n for one, with a trace'
	@echo 'make mutants        plant bugs in the engine, one at a time, and let the simulation find them; MUTANTS=names, SEEDS'
	@echo 'make fuzz           fuzz every target, T=$(T) seconds each; TARGET=name one of them; fuzz-coverage: what the corpora reach'
	@echo 'make differential   the request parser beside h11 and llhttp: CASES=$(CASES) SEED=$(SEED), a minute or two'
	@echo 'make conformance    outside suites against an example server, with a score: SUITES=names, two minutes'
	@echo 'make faults         every system call and every large allocation fails at its n-th time, for every n: some minutes'
	@echo 'make attacks        clients that mean ill, beside one who must be served: EACH=$(EACH) seconds each, NAME=those with it'
	@echo 'make soak           mixed traffic for T=$(T) seconds (from 90 on memory is judged); FORM=stalled: the server is stopped now and then'
	@echo 'make model          every interleaving of the wake-up from other threads, by loom'
	@echo 'make miri sanitize  the engine under Miri; the library under ThreadSanitizer and AddressSanitizer (nightly Rust, or skipped)'
	@echo 'make bench          measure beside the usual C servers, about 10 minutes; bench-quick: ours and the floor, 1 minute'
	@echo 'make bench-push     fan-out to 1,000 to 19,000 subscribers, beside a floor program and nchan'
	@echo 'make bench-bus      the message bus: 1,000 to 19,000 subscriptions, beside a floor program; some minutes'
	@echo 'make install        PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make header         write include/encke.h and cmake/encke.map anew from src/capi'
	@echo 'make check-targets  type-check the code for FreeBSD and macOS (without TLS, whose C needs a cross compiler)'
	@echo 'make clean          remove what the above made'
	@echo
	@echo 'Needs Rust (cargo). Other missing tools are installed by name on Debian and Ubuntu.'

run: HTTP_AT  ?= 127.0.0.1:8888
run: HTTPS_AT ?= 127.0.0.1:4444
run:
	@$(NEED) $(C_TOOLS) openssl:openssl
	@$(CMAKE) --log-level=WARNING -S . -B $(BUILD)
	@$(CMAKE) --build $(BUILD) --parallel 2 --target encke-tools
	@exec sh tools/run.sh '$(BUILD)' '$(HTTP_AT)' '$(HTTPS_AT)'

run-select: HTTP_AT  ?= 127.0.0.1:8080
run-select: HTTPS_AT ?= 127.0.0.1:8443
run-select:
	@$(NEED) $(C_TOOLS) openssl:openssl
	@$(CMAKE) --log-level=WARNING -S . -B $(BUILD)
	@$(CMAKE) --build $(BUILD) --parallel 2 --target select_loop
	@certificate=$$(cd $(BUILD) && pwd)/certificate; \
	if sh cmake/certificate.sh "$$certificate"; then \
	  exec $(BUILD)/c-examples/select_loop $(HTTP_AT) $(HTTPS_AT) "$$certificate/certificate.pem" "$$certificate/key.pem"; \
	else \
	  echo 'without HTTPS, then'; exec $(BUILD)/c-examples/select_loop $(HTTP_AT); \
	fi

test:
	@sh cmake/test.sh

# What is not to be had is left out, and said.
clients:
	@$(NEED) $(C_TOOLS) python3:python3 curl:curl
	@$(NEED) nodejs:node npm:npm chromium:chromium || true
	@$(CMAKE) --log-level=WARNING -S . -B $(BUILD)
	@$(CMAKE) --build $(BUILD) --parallel 2 --target chat camera testbed encke-bus encke-dump
	@sh tests/clients/run.sh $(BUILD)/c-examples $(BUILD)/clients

sim:
	@$(NEED) rust gcc:cc libc6-dev
	@ENCKE_SIM_SEEDS='$(SEEDS)' $(if $(filter file,$(origin SEED)),,ENCKE_SIM_SEED='$(SEED)') \
	  CARGO_PROFILE_TEST_OPT_LEVEL=2 CARGO_TARGET_DIR='$(BUILD)/sim' \
	  cargo test --lib --locked --no-default-features --features push,mounts,links engine::tests::simulation -- --exact --nocapture

mutants:
	@$(NEED) rust gcc:cc libc6-dev
	@sh proof/mutants.sh '$(BUILD)/mutants' $(if $(filter file,$(origin SEEDS)),2000,'$(SEEDS)') $(MUTANTS)

fuzz:
	@sh fuzz/run.sh fuzz '$(T)' $(TARGET)

fuzz-coverage:
	@sh fuzz/run.sh coverage

differential:
	@sh tests/differential/run.sh --cases '$(CASES)' --seed '$(SEED)' $(OPTIONS)

conformance:
	@sh conformance/run.sh $(SUITES)

faults model miri sanitize:
	@$(NEED) $(C_TOOLS)
	@sh proof/run.sh $@

attacks:
	@$(NEED) $(C_TOOLS) libssl-dev
	@sh proof/run.sh attacks '$(EACH)' '$(NAME)'

soak:
	@$(NEED) $(C_TOOLS) libssl-dev
	@sh proof/run.sh soak '$(T)' '$(FORM)'

bench bench-quick bench-push bench-bus:
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
