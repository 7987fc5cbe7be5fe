# Two commands: `make golden` runs the main job, `make test` runs all tests.

SHELL      := /bin/bash
BUILD      := .build
STACK      ?= golden
# The cloud's name; two clouds of different names do not touch each other.
export GOLDSMITH_CLOUD ?= local
# The instance architectures that the plugin can bake: the agent for each is inside it. ARCHES="amd64 arm64" builds for both;
# where amd64 is not among them, `make env-packer` has Packer bake for the first.
ARCHES     ?= $(shell go env GOARCH)
GOLDSMITH  := $(BUILD)/goldsmith
STEP       := scripts/step
# What goes into an image, and into the digest by which an unchanged build is known, must depend on the sources alone: not
# on the commit, untracked files, the checkout's path, or what the shell or go env -w says.
GO_BUILD   := GOFLAGS=-buildvcs=false GOWORK=off GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'
# Programs that only this checkout runs.
TOOL_BUILD := env GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'
unexport GOEXPERIMENT
# The command goes into no image, so it may tell its commit, where git answers for this checkout.
COMMIT      = $(shell git rev-parse --quiet --verify HEAD >/dev/null 2>&1 && echo -buildvcs=true)
# The time for each fuzz test; all of them take an hour at most.
FUZZTIME   ?= 5m

# Packer finds the plugin here and nowhere else, so a user's own plugins are neither used nor touched.
export PACKER_PLUGIN_PATH := $(CURDIR)/$(BUILD)/plugins
export PACKER_CONFIG_DIR  := $(CURDIR)/$(BUILD)/packer
export CHECKPOINT_DISABLE := 1
export CGO_ENABLED        := 0
export TIMINGS            := $(CURDIR)/$(BUILD)/timings

# How many whole cycles `make cycles` runs, and how much of EC2's time things take in them.
CYCLES     ?= 20
TIME       ?= 0.05
SEEDS      ?=

.PHONY: golden test test-all unit race cover fuzz acceptance acceptance-all cycles test-release scan bench build release deps \
  cloud packer plugin agent webapp goldsmith env env-packer check fmt lint cross figures generate clean distclean
.DEFAULT_GOAL := build

## golden: from nothing to HTTPS: build, start the local cloud, bake both images, launch one instance of each
golden:
	@scripts/golden "$(STACK)"

## test: everything that CI runs: checks, unit tests under the race detector, acceptance on the local cloud
test: check race acceptance

## test-all: test with all cases, and with tests too long for CI; each part fits an hour and can be run alone
test-all: check race acceptance-all cycles cover fuzz test-release bench

## unit: tests that need no root and no network
unit:
	go test ./...

## race: the same tests under the race detector, which needs a C compiler; installs one where there is none
race:
	@echo '#include <pthread.h>' | $$(go env CC) -E -xc - >/dev/null 2>&1 || scripts/deps --race
	CGO_ENABLED=1 go test -race ./...

## cover: the unit tests' coverage of each package, and whether it is above its floor in scripts/cover.floors
cover:
	@scripts/cover

## fuzz: each fuzz test for FUZZTIME, from the seeds that are committed
fuzz:
	@scripts/fuzz "$(FUZZTIME)"

## check: lint, the limits of the figures, the command on other systems, generated files are committed; changes none of it
check: lint cross
	go run ./tools/figures -check
	scripts/docs --check

## fmt: format all Go files, and break lines of more than 120 columns
fmt: .tools/golangci-lint
	@.tools/golangci-lint fmt

## lint: golangci-lint as .golangci.yml has it, which includes gofmt and vet
lint: .tools/golangci-lint
	.tools/golangci-lint run ./...

# Its module is one of its own, so that nothing of it reaches the plugin's.
.tools/golangci-lint: tools/golangci-lint/go.sum
	@mkdir -p $(@D)
	@$(STEP) "golangci-lint" env -C tools/golangci-lint $(TOOL_BUILD) -o $(CURDIR)/$@.new \
	  github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv $@.new $@

# The command is for operators' computers too; the local cloud needs Linux, and says so on others.
cross:
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/goldsmith
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/goldsmith

## figures: sizes, names and shapes of this tree, and which limits of CONTRIBUTING.md they exceed
figures:
	@go run ./tools/figures

## acceptance: the tests that need root, on local clouds of its own; RUN=TestX runs one test, KEEP=1 keeps the cloud for the next,
## MATRIX=all runs all cases where one of a kind is run else
acceptance:
	@scripts/deps --test
	@$(MAKE) --no-print-directory -j2 build packer $(BUILD)/packer-plugin-amazon .tools/http-observatory/installed .tools/axe/installed
	scripts/acceptance $(RUN)

# Where make test runs each kind of case once, all cases.
acceptance-all:
	@$(MAKE) --no-print-directory acceptance MATRIX=all

## cycles: CYCLES whole lives of a stack, network to destroy, on a cloud with EC2's manners; SEEDS=1,2 has seeds of before
cycles: packer
	@scripts/deps
	CYCLES='$(CYCLES)' TIME='$(TIME)' SEEDS='$(SEEDS)' go test -tags acceptance -count=1 -timeout 24h -v ./acceptance/cycles

## policies: hold the printed policies to what the last make acceptance called, as its clouds' trails have it
policies:
	go test -tags acceptance -count=1 -v ./acceptance/policies

## scan: judge the instances of the stack with scanners that are not this project's, and print one table
scan: goldsmith
	@scripts/deps --test
	@$(MAKE) --no-print-directory .tools/http-observatory/installed
	@eval "$$($(GOLDSMITH) cloud env)" && go run ./scan --stack "$(STACK)" $(if $(ONLY),--only "$(ONLY)")

## bench: bake, launch and start times, and requests per second
bench:
	@scripts/deps --test
	@$(MAKE) --no-print-directory -j2 build packer
	go test -tags acceptance -count=1 -timeout 60m -run '^$$' -bench . -benchtime 3x ./acceptance/bench

## build: the plugin, the agent, the web app and the command
build: plugin webapp goldsmith

## release: the files of a release page: the plugin and the command for each system, and SHA256SUMS, in .build/release
release: .tools/goreleaser
	@scripts/release

# Packer installs from the files that `make release` made, in a network namespace of its own; needs root.
test-release: release packer
	go test -tags acceptance -count=1 ./acceptance/release

.tools/goreleaser: tools/goreleaser/go.sum
	@mkdir -p $(@D)
	@$(STEP) "goreleaser" env -C tools/goreleaser $(TOOL_BUILD) -o $(CURDIR)/$@.new github.com/goreleaser/goreleaser/v2
	@mv $@.new $@

deps:
	@scripts/deps

agent: $(ARCHES:%=internal/agentbin/bin/goldsmith-agent-linux-%.gz)

# The compressed agent is written only when it changed, so that the plugin is not linked again for nothing.
internal/agentbin/bin/goldsmith-agent-linux-%.gz: FORCE
	@mkdir -p $(BUILD)
	@GOOS=linux GOARCH=$* $(GO_BUILD) -o $(BUILD)/goldsmith-agent-linux-$*.new ./cmd/goldsmith-agent
	@if cmp -s $(BUILD)/goldsmith-agent-linux-$*.new $(BUILD)/goldsmith-agent-linux-$* && [ -e $@ ]; then \
	  rm $(BUILD)/goldsmith-agent-linux-$*.new; \
	else \
	  gzip -9nc $(BUILD)/goldsmith-agent-linux-$*.new >$@.new && mv $@.new $@ && \
	  mv $(BUILD)/goldsmith-agent-linux-$*.new $(BUILD)/goldsmith-agent-linux-$*; \
	fi

plugin: agent
	@$(GO_BUILD) -o $(BUILD)/packer-plugin-goldsmith .

webapp: $(ARCHES:%=$(BUILD)/webapp-linux-%)
$(BUILD)/webapp-linux-%: FORCE
	@GOOS=linux GOARCH=$* $(GO_BUILD) -o $@ ./webapp

goldsmith:
	@$(GO_BUILD) $(COMMIT) -o $(GOLDSMITH) ./cmd/goldsmith

packer:
	@scripts/packer >/dev/null

# A stock client of the local cloud, for the tests only.
$(BUILD)/packer-plugin-amazon: tools/packer-plugin-amazon/go.sum
	@mkdir -p .tools $(BUILD)
	@[ -x .tools/packer-plugin-amazon ] && [ ! $< -nt .tools/packer-plugin-amazon ] || { \
	  echo "building packer-plugin-amazon once, for some minutes"; \
	  cd tools/packer-plugin-amazon && $(GO_BUILD) -o ../../.tools/packer-plugin-amazon github.com/hashicorp/packer-plugin-amazon; }
	@cp .tools/packer-plugin-amazon $@

# An outside judge of the web tier, for the tests only: exactly the packages of the lock, and none of their scripts is run.
# The list of preloaded sites, which it would fetch, stays empty.
.tools/http-observatory/installed: tools/http-observatory/package.json tools/http-observatory/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@$(STEP) "HTTP Observatory" npm ci --prefix $(@D) --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error
	@echo '{}' >$(@D)/node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json
	@touch $@

# An outside judge of the deploy report's page, for the tests only.
.tools/axe/installed: tools/axe/package.json tools/axe/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@$(STEP) "axe" npm ci --prefix $(@D) --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error
	@touch $@

## cloud: the local cloud, started if it is not
cloud: goldsmith
	@$(GOLDSMITH) cloud up

## env-packer: the variables by which packer finds the plugin: eval "$$(make -s env-packer)"
env-packer: plugin packer
	@"$$(scripts/packer)" plugins install --path $(BUILD)/packer-plugin-goldsmith github.com/goldsmith-ami/goldsmith >/dev/null
	@echo "export PACKER_PLUGIN_PATH='$(PACKER_PLUGIN_PATH)' PACKER_CONFIG_DIR='$(PACKER_CONFIG_DIR)' CHECKPOINT_DISABLE=1"
	@echo "export PATH='$(CURDIR)/$(BUILD):$(CURDIR)/.tools':\"\$$PATH\""
	@$(if $(filter amd64,$(ARCHES)),,echo "export PKR_VAR_arch='$(firstword $(ARCHES))'")

## env: the variables of a shell that runs packer and the AWS CLI against the local cloud: eval "$$(make -s env)"
env: env-packer goldsmith
	@$(GOLDSMITH) cloud env
	@echo "export GOLDSMITH_CLOUD='$(GOLDSMITH_CLOUD)'"

## generate: HCL2 specifications and reference documentation, from the fields' comments
generate:
	scripts/docs

## clean: stop the local cloud: no machine, namespace, mount, loop device or listener stays; images and instances do
clean:
	@if [ -x $(GOLDSMITH) ]; then $(GOLDSMITH) cloud down; fi
	@rm -rf $(BUILD)/timings $(BUILD)/packer

## distclean: also remove the local cloud's state, and everything that was built
distclean:
	@if [ -x $(GOLDSMITH) ]; then $(GOLDSMITH) cloud down --destroy --yes; fi
	@rm -rf $(BUILD) .tools internal/agentbin/bin/*.gz

FORCE:
