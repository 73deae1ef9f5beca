# Two commands to begin with: make demo, make test. Everything else is plain cargo and the scripts.
# PROFILE=release builds optimised; TIDEMILL_BIN=path uses a binary that is there already.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/tidemill/target
PROFILE ?= dev
OUT := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
BENCH ?= nexmark latency point hydrate joins groups decode
FUZZ_MINUTES ?= 30
FUZZ_SEEDS ?= 100000
FUZZ_FIRST ?= 1000
TPCH_SCALE ?= 0.01
KILL_ROUNDS ?= 50
BANK_TRANSFERS ?= 1000000
SOAK_MINUTES ?= 10
SOAK_RATE ?= 200000

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz tpch kill bank kafka-demo bench soak bench-operators bench-flink build fmt lint docs

help: ## Show what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## A server on an empty directory with live views over a generated auction site
	@scripts/install build
	@cargo build --profile $(PROFILE) --bin tidemill
	@"$(CARGO_TARGET_DIR)/$(OUT)/tidemill" demo $(DEMO)

test: ## Everything that CI runs
	@scripts/install test
	@scripts/test

fuzz: ## Random views against their queries for FUZZ_MINUTES=30, from seed FUZZ_FIRST=1000 on
	@scripts/install test
	@FUZZ_MINUTES=$(FUZZ_MINUTES) FUZZ_SEEDS=$(FUZZ_SEEDS) FUZZ_FIRST=$(FUZZ_FIRST) E2E_LIMIT_S=1000 cargo test --profile $(PROFILE) --test e2e -- oracle/

tpch: ## All 22 queries of TPC-H as views against their queries, at TPCH_SCALE=0.01
	@scripts/install test
	@TPCH_SCALE=$(TPCH_SCALE) E2E_LIMIT_S=3000 cargo test --profile $(PROFILE) --test e2e -- tpch/

kill: ## A server killed with -9 at KILL_ROUNDS=50 random moments, under INSERTs and sources (PROFILE=release; KILL_SEED)
	@scripts/install test
	@KILL_ROUNDS=$(KILL_ROUNDS) E2E_LIMIT_S=7200 cargo test --profile $(PROFILE) --test e2e -- kill/

bank: ## BANK_TRANSFERS=1000000 between accounts, with one worker and with three: every read adds up (PROFILE=release)
	@scripts/install test
	@BANK_TRANSFERS=$(BANK_TRANSFERS) E2E_LIMIT_S=7200 cargo test --profile $(PROFILE) --test e2e -- bank/

kafka-demo: ## Events in a real Kafka, views in psql, a kill -9 in the middle; ends in PASS or FAIL
	@scripts/install kafka
	@PROFILE=$(PROFILE) scripts/kafka-demo

bench: ## All benchmarks, optimised, with figures in target/bench/*.json (BENCH="nexmark point" for some)
	@scripts/install build
	@cargo build --release --bin tidemill
	@mkdir -p "$(CARGO_TARGET_DIR)/bench"
	@for what in $(BENCH); do \
	  "$(CARGO_TARGET_DIR)/release/tidemill" bench $$what --json "$(CARGO_TARGET_DIR)/bench/$$what.json" || exit 1; \
	done
	@echo "figures: $(CARGO_TARGET_DIR)/bench/"

soak: ## Views over 200,000 events/s for SOAK_MINUTES=10: fails unless memory, disk and freshness stay flat (SOAK_RATE)
	@scripts/install build
	@cargo build --release --bin tidemill
	@mkdir -p "$(CARGO_TARGET_DIR)/bench"
	@"$(CARGO_TARGET_DIR)/release/tidemill" bench soak --minutes $(SOAK_MINUTES) --rate $(SOAK_RATE) --json "$(CARGO_TARGET_DIR)/bench/soak.json"

bench-operators: ## Single operators beside differential-dataflow, in one run (ROWS, OPERATORS, WORKERS, RUNS)
	@scripts/install build
	@scripts/bench-operators

bench-flink: ## Nexmark queries beside Apache Flink, over the same files, in one run (EVENTS, QUERIES, EVENT_RATE, RUNS)
	@scripts/install flink
	@scripts/bench-flink

build: ## The binary
	@scripts/install build
	@cargo build --profile $(PROFILE) --bin tidemill

docs: ## Make docs/functions.md from the tables of functions
	@TIDEMILL_WRITE_DOCS=1 cargo test --lib the_documentation_is_that_of_the_tables

fmt: ## Format
	@cargo fmt

lint: ## Clippy, warnings are errors
	@cargo clippy --all-targets -- -D warnings
