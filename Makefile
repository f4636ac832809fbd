# What a contributor runs. It needs Go, git and make; `make test` also likes a C compiler, for the race
# detector, and Chromium, for a page that needs a browser. All other tools are built into bin/ from the versions that proto/tools/go.mod names.

MODULES := deploy gateway proto services
# The branch a change is compared with by check-breaking.
MAIN ?= main

BIN := $(CURDIR)/bin
TOOLS := $(BIN)/.built
ANNOTATIONS := proto/third_party/.exported
TMP := $(BIN)/tmp
# The tools' module is outside go.work, so that what they need never mixes with what we ship.
TOOLS_GO := cd proto/tools && GOWORK=off go

# The generator knows nothing of HTTP's headers, and names services that have no route; what it writes is finished.
OPENAPI := gateway/openapi/amanat.swagger.json
FINISH_OPENAPI = $(TOOLS_GO) run ./finishopenapi

# The race detector needs a C compiler; without one the tests still run. A program under it sleeps for a second when it ends, in case
# another thread is about to report a race, and the tests start hundreds: a hundredth of a second will do.
RACE := $(if $(shell command -v gcc || command -v clang),-race)
export GORACE ?= atexit_sleep_ms=10

# What the tests keep in memory is small, and processors are what they wait for: fewer collections.
test test-networks test-alone soak soak-race soak-alone: export GOGC ?= 400

# Tests that are one goroutine's work do a part of it under the race detector (soaktest.Alone), and all of it in a run without.
ALONE := Explore|TestDays|EveryReachable|RandomPrograms|RestoredAtEveryMoment|RestoredInOtherLives|DeadlinesOfFamilies|ADeadlineOnRandomWalks|EveryByteOfAFile|ASearchIsExact|NothingNarrower|EveryYearIsTaken|TestMarginals|TheSameOptionsMakeTheSameYear|SurgeOfAnyYear|WhatIsOverCostsNothing|PowerIsCut|BitsTurnAround|ADiskThatFails

# What go test prints goes through another program; the end is go test's.
test test-networks test-alone quick soak soak-race soak-alone: SHELL := bash
test test-networks test-alone quick soak soak-race soak-alone: .SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help run test test-networks test-alone test-builds quick soak soak-race soak-alone fuzz bench check check-format check-vet check-proto check-breaking check-generated \
	check-tidy check-imports gen clean-data need-go need-git

help: ## List what make can do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r target text; do printf '  %-16s %s\n' "$$target" "$$text"; done

run: need-go ## Run the demo: three provinces and the federal cell, and a year of theirs; it goes on where it was broken off
	go build -o $(BIN)/amanat ./deploy/amanat
	@$(BIN)/amanat demo

# Packages, or tests of whole networks, at a time: more than two processors, since tests wait for disks and clocks. With more
# processors: make test AT_A_TIME=8.
AT_A_TIME := 3

# go test hides that a test was skipped, and what it logged, until it fails.
TOLD := awk -f .ci/told.awk

test: need-go ## Run every test with the race detector, and build each module alone
	@test -n "$(RACE)" || echo 'no C compiler, so no race detector: apt-get install gcc libc6-dev'
	@command -v chromium >/dev/null || echo 'no chromium, so no browser looks at the page /docs/try: apt-get install chromium'
	go test $(RACE) -count=1 -v -p $(AT_A_TIME) -timeout 25m $$(go list work | grep -v /deploy/e2e) | $(TOLD)
	@$(MAKE) --no-print-directory -j 3 test-networks test-alone test-builds

# Whole networks of processes wait most; beside them goes what one goroutine does, so that two processors have work to the end. The mutants
# go one after the other, so they are not what is left at the end.
test-networks:
	go test $(RACE) -count=1 -v -parallel $(AT_A_TIME) -timeout 25m ./deploy/e2e | $(TOLD)

test-alone:
	go test -count=1 -vet=off -v -timeout 25m -tags mutants -run Mutants ./deploy/simulation ./services/protection/internal/app
	go test -count=1 -vet=off -v -timeout 25m -run '$(ALONE)' $$(grep -rl --include='*_test.go' 'soaktest\.Alone(' $(MODULES) | xargs -n 1 dirname | sort -u | sed 's|^|./|') | $(TOLD)

test-builds:
	@for module in $(MODULES); do \
		echo "GOWORK=off go build ./... in $$module"; \
		(cd $$module && GOWORK=off go build ./...) || exit 1; \
	done

quick: need-go ## Run the short tests, in less than a minute
	go test -short -v work | $(TOLD)

# Each test goes on for this long; those that must do many rounds, such as 200 kills, go on until they are done.
MINUTES ?= 5

SOAK := SOAK_MINUTES=$(MINUTES) go test -count=1 -v -timeout 0 -p 1

soak: need-go ## Repeat the random tests for MINUTES=n each: programs, histories, kills, cuts of power, callers for one bed, published countries, years under faults; explore chains further, live ten thousand countries, fuzz; and say what was done
	@mkdir -p $(TMP) && rm -f $(TMP)/soak-*.log; begun=$$(date +%s); \
	$(MAKE) --no-print-directory -j 2 soak-race soak-alone && $(MAKE) fuzz | tee $(TMP)/soak-fuzz.log; failed=$$?; \
	echo "what was done in $$((($$(date +%s) - begun) / 60)) minutes:"; \
	cat $(TMP)/soak-*.log | sed -nE 's/^(--- (PASS|FAIL|SKIP): .*)/\1/p; s/^ +[a-z_]+_test\.go:[0-9]+: /    /p; / inputs$$/p'; \
	exit $$failed

# What has goroutines of its own goes on under the race detector, where there is one (not the processes it starts); beside it what is one
# goroutine's work.
soak-race:
	cd services && $(SOAK) $(RACE) -run 'AreLinearizable|KilledUnderLoad|OneBed' ./shelter/... ./referral/internal/server | tee -a $(TMP)/soak-race.log
	cd deploy && $(SOAK) $(RACE) -run 'DemoUnderFaults|AccidentsOfNATS|LineOfANamespace' ./e2e | tee -a $(TMP)/soak-race.log
	cd deploy && $(SOAK) -run 'Power|Bits|ADiskThatFails' ./disktest | tee -a $(TMP)/soak-race.log

soak-alone:
	cd services && $(SOAK) -run 'RandomPrograms|EveryReachable|Restored|NothingNarrower' ./shelter/internal/app ./custody ./referral/internal/app ./federal/internal/app/... | tee -a $(TMP)/soak-alone.log
	cd deploy && $(SOAK) -run 'Explore|TestDays' ./simulation | tee -a $(TMP)/soak-alone.log

# How long each fuzz target goes on. By itself Go makes each input that reaches something new smaller for up to a minute, and tries no other then.
FUZZTIME ?= 10s

# Before Go 1.27 the end of the time is now and then called a failure (golang/go#75804); it names no input then.
FUZZ_TIME_IS_UP = { grep -qx '    context deadline exceeded' $(TMP)/fuzz.log && ! grep -qE 'Failing input|panic|_test\.go:' $(TMP)/fuzz.log; }

fuzz: need-go ## Run every fuzz target for FUZZTIME=10s, and say how many inputs it tried
	@mkdir -p $(TMP)
	@for package in $$(grep -rlE --include='*_test.go' '^func Fuzz' $(MODULES) | xargs -n 1 dirname | sort -u); do \
		targets=$$(go test -list '^Fuzz' ./$$package) || { echo "$$targets"; exit 1; }; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$package >$(TMP)/fuzz.log 2>&1 || $(FUZZ_TIME_IS_UP) || { cat $(TMP)/fuzz.log; exit 1; }; \
			tried=$$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' $(TMP)/fuzz.log | tail -1); \
			test "$${tried:-0}" -gt 0 || { cat $(TMP)/fuzz.log; echo "$$package $$target tried no input"; exit 1; }; \
			echo "$$package $$target: $$tried inputs"; \
		done; \
	done

bench: need-go ## Run the benchmarks of every package
	go test -run '^$$' -bench . -benchmem work

check: check-format check-vet check-imports check-proto check-breaking check-generated check-tidy ## Check format, faults, contracts, generated code, go.mod files and import rules
	@echo 'all checks pass'

check-format: $(TOOLS)
	@unformatted=$$($(BIN)/gofumpt -l $(MODULES)); test -z "$$unformatted" || \
		{ echo "not formatted, run bin/gofumpt -w on:"; echo "$$unformatted"; exit 1; }

check-vet: $(TOOLS)
	go vet work
	$(TOOLS_GO) vet ./...
	go vet -tags mutants ./deploy/simulation ./services/protection/internal/app
	$(BIN)/staticcheck work

# Uncached: what these tests read lies in other modules, where go test does not see it change.
check-imports: need-go
	go test -count=1 ./proto ./services

check-proto: $(TOOLS) $(ANNOTATIONS)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path proto/amanat

# Compared is the commit at which this branch left the other, so that what came there since is not blamed
# here. A clone may know the other branch only as its origin's. On that branch itself, or where it is not
# known, it is the commit before. git does not hold the annotation files; they are put beside the contracts
# of that commit.
check-breaking: need-git $(TOOLS) $(ANNOTATIONS)
	@base=$$(git merge-base '$(MAIN)' HEAD 2>/dev/null || git merge-base 'origin/$(MAIN)' HEAD 2>/dev/null); \
	if test -z "$$base" || test "$$base" = "$$(git rev-parse HEAD)"; then \
		base=$$(git rev-parse --quiet --verify HEAD^); \
	fi; \
	if ! git rev-parse --quiet --verify "$$base:proto/amanat" >/dev/null; then \
		echo 'no earlier commit with contracts is known here: nothing to compare with'; exit 0; \
	fi; \
	rm -rf $(TMP)/base && mkdir -p $(TMP)/base && \
	git archive --output $(TMP)/base.tar "$$base" buf.yaml proto/amanat && \
	tar -x -f $(TMP)/base.tar -C $(TMP)/base && \
	cp -R proto/third_party $(TMP)/base/proto/ && \
	echo "buf breaking --against $$base" && \
	$(BIN)/buf breaking --against $(TMP)/base

check-generated: $(TOOLS) $(ANNOTATIONS)
	@rm -rf $(TMP)/gen && mkdir -p $(TMP)/gen/gateway/openapi && \
	cp -R buf.yaml buf.gen.yaml $(TMP)/gen && \
	cp -R proto $(TMP)/gen/proto && \
	cp gateway/openapi/openapi.yaml $(TMP)/gen/gateway/openapi && \
	find $(TMP)/gen/proto/amanat -name '*.go' -exec rm {} + && \
	(cd $(TMP)/gen && PATH='$(BIN)':$$PATH buf generate) && \
	($(FINISH_OPENAPI) '$(TMP)/gen/$(OPENAPI)') && \
	diff -r -q proto/amanat $(TMP)/gen/proto/amanat && \
	diff -q $(OPENAPI) $(TMP)/gen/$(OPENAPI) || \
		{ echo 'generated code differs from the contracts: run make gen, and remove what no contract makes'; exit 1; }

check-tidy: need-go
	@for module in $(MODULES) proto/tools; do \
		(cd $$module && GOWORK=off go mod tidy -diff 2>&1) || \
			{ echo "$$module/go.mod: run GOWORK=off go mod tidy there"; exit 1; }; \
	done

gen: $(TOOLS) $(ANNOTATIONS) ## Generate code and OpenAPI from the contracts, without network
	PATH='$(BIN)':$$PATH buf generate
	$(FINISH_OPENAPI) '$(CURDIR)/$(OPENAPI)'

clean-data: ## Remove what the demo has stored in data/: the next run begins its year anew
	rm -rf data

need-go:
	@command -v go >/dev/null || { echo 'Go is missing: install version 1.26 or later from https://go.dev/dl'; exit 1; }

need-git:
	@command -v git >/dev/null || { echo 'git is missing: apt-get install git'; exit 1; }

$(TOOLS): proto/tools/go.mod proto/tools/go.sum | need-go
	@echo 'building the tools into bin/'
	@$(TOOLS_GO) build -o '$(BIN)/' tool
	@touch $@

# The annotation files our contracts import, printed from the linked Go modules.
$(ANNOTATIONS): proto/tools/go.mod proto/tools/exportprotos/main.go | need-go
	@$(TOOLS_GO) run ./exportprotos -out ../third_party
	@touch $@
