# `make help` lists what there is to make. It takes Go and GNU make; the
# step needs says what `make test` takes besides.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BINARY    := bin/ollama-mcp
# The flags that every build of the program has.
GO_FLAGS := $(shell grep -v '^\#' internal/release/goflags)
# Functions begin at multiples of 8 bytes on every platform, which makes the program for amd64 0.3 MB smaller.
GO_BUILD  = CGO_ENABLED=0 go build $(GO_FLAGS) -ldflags "-s -w -funcalign=8 -X 'ollama-mcp/internal/app.release=$(STAMP)'"
# The version, commit and date that the program says it has; nothing outside a git repository.
STAMP = $(shell git log -1 --format='%H %cI' 2>/dev/null | { read -r commit date && echo "$$(git describe --tags --exact-match 2>/dev/null || TZ=UTC git log -1 --abbrev=12 --date=format-local:%Y%m%d%H%M%S --format=v0.0.0-%cd-%h) $$commit $$date"; })

# The version of a release; without it that of the commit's tag.
VERSION :=

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# The steps of `make test`, of which three run at once: first those of seconds, then the longest,
# so that none of the three is left with a long one at the end. The soak mostly waits. That
# docs/options.md is current is one of the tests of internal/config.
STEPS := format spelling workflows soak-test e2e race staticcheck vet simulations release-test

# What is built without the race detector is built with the flags of the program in all steps, so
# that each package is compiled once for all of them.
vet staticcheck simulations release-test e2e soak: export CGO_ENABLED = 0
vet staticcheck simulations release-test e2e soak: export GOFLAGS := $(strip $(GOFLAGS) $(GO_FLAGS))

# The end-to-end tests, and each example with needs of its own, are modules of
# their own, so that the product's go.mod lists what the product needs.
MODULES  := $(dir $(shell find . -name node_modules -prune -o -name go.mod -print))
E2E      := ./internal/e2e/
RELEASE  := ./internal/release/
HELM     := ./internal/helm/
GO_FILES := $(shell find . -name node_modules -prune -o -name '*.go' -print)

# Tools live outside the repository and its go.mod, by package, version and
# version of Go; the last rule below installs what is not there yet.
TOOLS       := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ollama-mcp/tools/$(shell go env GOVERSION)
GOFUMPT     := $(TOOLS)/mvdan.cc/gofumpt@v0.12.0/gofumpt
STATICCHECK := $(TOOLS)/honnef.co/go/tools/cmd/staticcheck@v0.8.2/staticcheck
GOTESTSUM   := $(TOOLS)/gotest.tools/gotestsum@v1.13.0/gotestsum
ACTIONLINT  := $(TOOLS)/github.com/rhysd/actionlint/cmd/actionlint@v1.7.12/actionlint
MISSPELL    := $(TOOLS)/github.com/golangci/misspell/cmd/misspell@v0.8.0/misspell

# in-modules runs a command in each of the modules given.
in-modules = for module in $(1); do echo "$@ in $$module"; (cd $$module && $(2)); done

# go-test runs go test, shows the lines that it prints, and adds up at the end. A test that fails
# runs once more by itself, unless several fail; the end of `make test` names it. To vet is a step of
# its own. The packages are all of the module unless some are given.
go-test = $(GOTESTSUM) --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=3 --packages="$(or $(2),./...)" -- -vet=off $(1)

# What stress runs, and how often; docs/testing.md says how to do that with end-to-end tests.
PACKAGES := ./...
RUNS     := 10

# How long soak has things go wrong, what decides which (0 draws a seed by chance), how many call, and the
# longest pause of a caller between two calls.
DURATION := 1h
SEED     := 0
CALLERS  := 48
PAUSE    := 2s

# The program of thushan/olla, for bench-gateways; it is built if none is given.
OLLA :=

# What simulate simulates.
COMPANY ?= 20/100/10000/4/2m

# How many requests bench-fronts makes in each row.
CALLS := 100000

# Where fuzz looks for targets, and how long each runs. An input for which one fails is
# written to testdata/fuzz beside it: commit it with what mends it. An input that is of interest is tried
# only so often in a smaller form: go test would take a minute for each, and where goroutines meet by
# chance, most inputs seem to be of interest.
FOLDER   := .
FUZZTIME := 10m

.PHONY: build help unit test cross stress soak fuzz lint fmt demo bench bench-peers bench-fronts bench-gateways bench-polling bench-redis bench-affinity simulate eval-semantic recordings docs changelog release release-check release-needs clean needs $(STEPS)

build: ## build the server into bin/
	$(GO_BUILD) -o $(BINARY) .

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

unit: ## run the quick tests: seconds, and nothing but Go
	go test ./...

test: needs build $(GOFUMPT) $(STATICCHECK) $(GOTESTSUM) $(ACTIONLINT) $(MISSPELL) ## run all that CI runs; each line says which step it is of
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(MAKE) --no-print-directory -j3 $(STEPS:%=step-%) 2>&1 | tee "$$log" || { echo "make test: failed"; exit 1; }; \
	echo; awk '/: passed after / { print } / DONE [0-9]+ tests/ { sub(/.* DONE /, ""); ran += $$1; if ($$4 ~ /^skipped/) skipped += $$3 } \
		/ === FAIL: / { sub(/ === FAIL:/, ""); again = again "\n" $$0 } \
		END { printf "%d s in all\n\n%d passed, 0 failed, %d skipped\n", seconds, ran - skipped, skipped; \
			if (again) print "\nThese failed, and passed when they ran once more. Each is a fault to be found, as by make stress:" again }' seconds=$$SECONDS "$$log"

step-%:
	@$(MAKE) --no-print-directory $* 2>&1 | awk '{ print "$*: " $$0; fflush() }' || { echo "$*: failed"; exit 1; }; \
	echo "$*: passed after $$SECONDS s"

stress: ## run each package ten times, and once on a busy machine; PACKAGES=./pool RUNS=3
	go run ./internal/stress -runs $(RUNS) go test -json -race -count=1 -timeout 30m $(PACKAGES)

soak: build ## have all go wrong around the server for an hour; DURATION=5m SEED=7 (Linux)
	@cd $(E2E) && ./ollama.sh all >/dev/null && OLLAMA_BIN=$$(./ollama.sh) go run ./soak -bin $(CURDIR)/$(BINARY) -duration $(DURATION) -seed $(SEED) -callers $(CALLERS) -pause $(PAUSE)

fuzz: ## run each fuzz target for ten minutes; FUZZTIME=30s FOLDER=server
	@failed=(); for file in $$(grep -rl '^func Fuzz' --include='*_test.go' $(FOLDER)); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "=== $$file $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x ./$$(dirname $$file) || failed+=("$$target"); \
		done; \
	done; \
	((!$${#failed[@]})) || { echo "failed: $${failed[*]}"; exit 1; }

lint: format spelling vet staticcheck workflows ## check formatting, spelling, vet, staticcheck and the workflows

demo: build ## show the server at work with a real Ollama
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./demo -bin $(CURDIR)/$(BINARY)

bench: build ## measure calls through the server, and a full host; 20 minutes (Linux)
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./with bash -c \
		'cd $(CURDIR) && go run ./internal/overhead -ollama $$OLLAMA_HOST -model tiny-says $(BINARY)'

bench-polling: build ## measure what it costs to know how a hundred hosts are; a minute (Linux)
	@go run ./internal/overhead -polling 100 $(BINARY)

simulate: ## compare replicas with one queue in virtual time; COMPANY=replicas/hosts/callers/slots/time
	@go test ./internal/redis -count=1 -v -timeout 2h -run TestReplicasThatShareHosts -args -company $(COMPANY)

bench-redis: build ## measure calls of replicas that share answers through Redis, and without; a minute (Linux)
	@go run ./internal/overhead -redis -rounds 7 -calls 2000 $(BINARY)

bench-affinity: build ## measure what it gains that prompts go where their beginnings were read, on two real Ollamas; minutes
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) OLLAMA_MCP_BIN=$(CURDIR)/$(BINARY) go test -run - -bench BenchmarkAffinity -benchtime 10x -timeout 1h .

bench-fronts: build ## print the table of docs/performance.md: one connection, the pool, MCP, the gateway; 30 minutes, or CALLS=5000 (Linux)
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./with bash -c \
		'cd $(CURDIR) && go run ./internal/overhead -fronts -command "make bench-fronts CALLS=$(CALLS)" -full-calls $(CALLS) -ollama $$OLLAMA_HOST -model tiny-says $(BINARY)'

bench-gateways: build ## measure streams through the gateway and through thushan/olla; OLLA=PROGRAM if it is built, ONLY='real' for some scenes (Linux)
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; olla='$(OLLA)'; \
	[[ -n $$olla ]] || { (cd "$$dir" && GOBIN="$$dir" go install github.com/thushan/olla@latest); olla=$$dir/olla; }; \
	cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./with bash -c \
		'cd $(CURDIR) && go run ./internal/overhead -olla "'"$$olla"'" -ollama $$OLLAMA_HOST -model tiny-says:latest -rounds 5 -calls 400 -only "$(ONLY)" $(BINARY)'

bench-peers: build ## measure calls through the server and through two other servers from npm (Linux)
	@command -v node npm >/dev/null || { echo "not found: node, npm; on Debian: apt-get install npm"; exit 1; }
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	npm install --silent --no-audit --no-fund --prefix "$$dir" ollama-mcp@2.1.0 ollama-intern-mcp@2.10.0; \
	go run ./internal/overhead -peers "$$dir/node_modules" -rounds 5 -calls 1000 -starts 5 $(BINARY)

eval-semantic: ## tell how well questions that mean the same are told from others
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./with bash -c \
		'cd $(CURDIR) && go run ./internal/semantic/evaluate -model tiny-words internal/semantic/testdata/pairs.tsv'

recordings: ## record what every tested version of Ollama answers, as test data
	@cd $(E2E) && ./ollama.sh all >/dev/null && go run ./record $(CURDIR)/internal/backend/ollama/testdata/replays

docs: ## write docs/options.md, docs/metrics.md and docs/tools.md anew from the program
	go test ./internal/config -update
	go test ./internal/metrics -update
	go test ./tools -run TestPageOfToolsIsCurrent -update

changelog: ## date the part of CHANGELOG.md that is to be released; VERSION=v0.1.0
	@cd $(RELEASE) && go run . -version "$(VERSION)" changelog

release: ## make all files of a release from this commit, into dist/release; VERSION=v0.1.0
	@cd $(RELEASE) && go run . -version "$(VERSION)"

release-check: release-needs ## install what release has made and this machine can run, and call it; needs npm and Wine
	@cd $(E2E) && OLLAMA_BIN=$$(./ollama.sh) go run ./with bash -c 'cd $(CURDIR)/$(RELEASE) && go run . -version "$(VERSION)" check'

release-needs:
	@if [[ ! -x /usr/lib/wine/wine64 ]] || ! { command -v x86_64-w64-mingw32-gcc && command -v rpm2cpio && command -v cpio; } >/dev/null; then \
		[[ $$(id -u) == 0 ]] || { echo "not found: wine64, a compiler for Windows, rpm2cpio or cpio; on Debian: apt-get install wine64 gcc-mingw-w64-x86-64 rpm2cpio cpio"; exit 1; }; \
		apt-get update && apt-get install -y --no-install-recommends wine64 gcc-mingw-w64-x86-64 rpm2cpio cpio; \
	fi

fmt: $(GOFUMPT) ## format all Go files
	$(GOFUMPT) -w $(GO_FILES)

clean: ## remove what was built here
	rm -rf bin dist

needs: ## see that the compilers, npm, nginx, Prometheus, Redis and Chromium are there, and install them if root
	@missing=(); for tool in gcc g++ npm nginx prometheus redis-server chromium; do PATH=$$PATH:/usr/sbin command -v $$tool || missing+=($$tool); done; \
	if (($${#missing[@]})) && [[ $$(id -u) == 0 ]]; then \
		apt-get update && apt-get install -y --no-install-recommends "$${missing[@]}" libc6-dev; \
	elif (($${#missing[@]})); then \
		echo "not found: $${missing[*]}; on Debian: apt-get install $${missing[*]} libc6-dev"; exit 1; \
	fi

format: $(GOFUMPT)
	@unformatted=$$($(GOFUMPT) -l $(GO_FILES)); \
	[[ -z $$unformatted ]] || { echo "$$unformatted"; echo "not formatted: see make fmt"; exit 1; }

# The documents are in British English, except for names. In code there are many of those, so
# there only words are found that are wrong everywhere.
spelling: $(MISSPELL)
	@$(MISSPELL) -error -locale UK -i summarize,recognize,initialize,unauthorized,color,artifact,organization,humanize $$(git ls-files '*.md')
	@$(MISSPELL) -error -i modle,programmier $$(git ls-files '*.go' '*.mjs' '*.ts' '*.sh' '*.yaml' '*.html' '*.js' '*.css' | grep -v testdata)

vet:
	@$(call in-modules,$(MODULES),go vet ./...)

# Not in the module of the chart: its few tests would have all of Kubernetes' client checked too. It spends
# a quarter less processor time if it collects garbage less often.
staticcheck: export GOGC = 400
staticcheck: export GOMEMLIMIT = 4GiB
staticcheck: $(STATICCHECK)
	@$(call in-modules,$(filter-out $(HELM),$(MODULES)),$(STATICCHECK) ./...)

# The time limit catches tests that hang. It is no measure of how long they may take. Other modules have
# steps of their own, or no tests. Properties are tried with fewer examples than by unit and stress: the
# race detector makes each ten times as dear.
race: export RAPID_CHECKS = 30
race: $(GOTESTSUM) ## run the quick tests under the race detector
	@$(call go-test,-race -timeout 20m)

# Simulations, in files with the constraint !race, find out how well something works in hours of
# virtual time, and the tests beside them have its goroutines meet. The tests of internal/overhead, which
# measures programs, of internal/systems, which checks types, of internal/rawio, which does nothing under
# the race detector, and of commands that do one thing after another are such files too.
simulations: $(GOTESTSUM) ## run the tests that the race detector has nothing to find in
	@files=$$(grep -rl '^//go:build !race$$' --include='*_test.go' .); \
	tests=$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $$files | paste -sd'|'); \
	folders=$$(dirname $$files | sort -u | tr '\n' ' '); \
	echo "simulations in $$folders"; \
	$(call go-test,-run "^($$tests)\$$" -timeout 20m,$$folders)

# They build the program twice, and have no goroutines that could race, nor do the tests of the chart.
release-test: $(GOTESTSUM) ## test that releases are reproducible, small, and of free licences, and the Helm chart
	@cd $(RELEASE) && $(call go-test,-timeout 10m)
	@cd $(HELM) && $(call go-test,-timeout 10m)

workflows: $(ACTIONLINT)
	@$(ACTIONLINT) -shellcheck= -pyflakes=

cross: ## build for every platform into dist/
	@for platform in $(PLATFORMS); do \
		target=dist/ollama-mcp-$${platform/\//-}; [[ $$platform != windows/* ]] || target+=.exe; \
		echo "$$target"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO_BUILD) -o $$target .; \
	done

# It has a program of its own, since the other steps use theirs, and callers that are fewer and call
# less often, since the machine has other work. As a test that fails, it runs once more, for a minute.
soak-test: ## five minutes of the soak, with the processor left to others (Linux)
	@[[ $$(uname) == Linux ]] || { echo "only on Linux"; exit 0; }; \
	soak="$(MAKE) --no-print-directory soak BINARY=bin/soak/ollama-mcp CALLERS=28 PAUSE=20s"; \
	$$soak DURATION=5m || { echo "=== FAIL: the soak, with the seed that it has printed"; $$soak DURATION=1m; }

# Never from go test's cache: it would not see that the server has changed.
e2e: build $(GOTESTSUM) ## test the built server with a real Ollama and foreign clients
	@cd $(E2E) && ./ollama.sh all >/dev/null && OLLAMA_BIN=$$(./ollama.sh) OLLAMA_MCP_BIN=$(CURDIR)/$(BINARY) $(call go-test,-count=1 -parallel 4 -timeout 30m)

$(TOOLS)/%:
	GOBIN=$(@D) go install $(patsubst %/,%,$(dir $*))
