# What a person or a CI needs. `make demo` first; `make check` while you work; `make test` before you hand over.
.POSIX:
.PHONY: demo test check acceptance fuzz seeds needs programs simulation judges openapi
CARGO = cargo
TOOLS = target/tools
# Seconds a fuzz target runs.
FUZZ_SECONDS = 5
# Worlds of each kind that `make seeds` makes, and the first of them.
SEEDS = 3000
FIRST_SEED = 0
# Never with --workspace: the simulation is built with another tokio.
PROGRAMS = -p festoon-manager -p festoon-endpoint -p festoon-tests

# Shows a failover in a lab of its own. KEEP=1 leaves the lab up.
demo: needs programs
	tests/enter target/release/festoon-demo

# Measures every bar into target/acceptance.json. ONLY=name measures those whose name begins so.
acceptance: needs programs simulation judges $(TOOLS)/bin/boringtun-cli
	CARGO='$(CARGO)' tests/enter target/release/festoon-acceptance

# Everything that can fail, with the number of tests at the end.
test: needs $(TOOLS)/bin/cargo-deny
	CARGO='$(CARGO)' FUZZ_SECONDS='$(FUZZ_SECONDS)' tests/all

# Changes nothing, and is quick once everything was built.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(CARGO) clippy --quiet -p festoon-sim --all-targets -- -D warnings
	CARGO='$(CARGO)' tests/gates/purity
	CARGO='$(CARGO)' tests/gates/licences
	CARGO='$(CARGO)' tests/gates/advisories

# After the API has changed.
openapi:
	$(CARGO) run --quiet -p festoon-manager -- api-document > target/openapi.json
	mv target/openapi.json docs/openapi.json

fuzz:
	tests/fuzz/run $(FUZZ_SECONDS)

# The registry in thousands of simulated worlds; names every seed that failed.
seeds:
	RUSTFLAGS='--cfg tokio_unstable' FESTOON_SEED=$(FIRST_SEED) FESTOON_SEEDS=$(SEEDS) \
		$(CARGO) test --release -p festoon-sim --test registry every_promise -- --nocapture

# What the lab needs from the distribution. Before entering a namespace, for there is no way out of it.
needs:
	tests/install-needs

programs:
	$(CARGO) build --release $(PROGRAMS)

# By itself, so that tokio draws from the seed too.
simulation:
	RUSTFLAGS='--cfg tokio_unstable' $(CARGO) build --release -p festoon-sim

# What asks the API. Before entering a namespace, for it comes from outside.
judges:
	$(CARGO) build --quiet
	$(CARGO) test --quiet --no-run -p festoon-manager -p festoon-tests --test cluster --test overlay
	tests/schemathesis/install

# Checks licences and sources.
$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --quiet --locked --root $(TOOLS) cargo-deny --version 0.20.2

# What the throughput is held against.
$(TOOLS)/bin/boringtun-cli:
	$(CARGO) install --quiet --locked --root $(TOOLS) boringtun-cli --version 0.7.1
