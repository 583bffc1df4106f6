# make test    installs the peers (Debian packages) and runs every test with the race detector
# make soak    loads the real program for half an hour (SOAK=2h for longer)
# make bench   runs the benchmarks, each against its floor
# make build   builds the two programs into this folder

GO ?= go
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# What the tests hold our output against: openssl, BouncyCastle, unzip, shellcheck, poppler,
# libxml2, SoftHSM, and the Library of Congress's BagIt reader.
PEERS = openssl libbcpkix-java default-jdk-headless unzip shellcheck poppler-utils libxml2-utils python3-pip softhsm2 curl jq
# Two S3 servers, built from source.
MINIO = github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW = github.com/versity/versitygw/cmd/versitygw@v1.8.0
# A CMIS repository, Apache Chemistry's, and what serves it: SHA-256, name, path in Maven Central.
OPENCMIS = \
	e64213571d416a5ff03a923693b97bb32d680b353af40d6807ce007197ae71d9:opencmis.war:org/apache/chemistry/opencmis/chemistry-opencmis-server-inmemory/1.1.0/chemistry-opencmis-server-inmemory-1.1.0.war \
	f63fbee00a06f04a3f715267d5d53ba4389b5b3e9ecc6168d8b73d81243a883f:jetty-runner.jar:org/eclipse/jetty/jetty-runner/9.4.57.v20241219/jetty-runner-9.4.57.v20241219.jar
MAVEN ?= https://repo.maven.apache.org/maven2
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: all build test check peers bench soak fuzz

all: build

build:
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o sae ./cmd/sae
	$(GO) build -trimpath -o sae-verify ./cmd/sae-verify

# Half of the time of the tests is a disk's that makes files durable. Where a folder in memory has room
# and runs programs they run in it: what they show of crashes, faults and kills does not rest on a disk.
# The packages that write files run on the disk, too.
MEMORY ?= /dev/shm
# Tests of which a part is enough under the race detector (see archive/raced_test.go), whole.
WHOLE = TestErasureLeavesNoByte|TestCertificateAttack|TestCertificateOfErasure|TestEveryFileDamaged|TestDepositFaults|TestTransfersComeBack|TestConvertedIsExported
test: peers check
	@tmp=$$(mktemp -d $(MEMORY)/sae-test.XXXXXX 2>/dev/null) && trap 'rm -rf "$$tmp"' EXIT && \
	printf '#!/bin/sh\n' >"$$tmp/try" && chmod +x "$$tmp/try" && "$$tmp/try" 2>/dev/null && \
	test "$$(df -Pk "$$tmp" | awk 'END {print $$4}')" -gt 6000000 && test "$$(awk '/^MemAvailable/ {print $$2}' /proc/meminfo)" -gt 10000000 \
	&& export TMPDIR="$$tmp" && echo "tests run in $$tmp" || echo "tests run on the disk"; \
	$(GO) test -race -timeout 30m ./... && $(GO) test -timeout 30m -run '^($(WHOLE))$$' ./archive
	$(GO) test -count 1 ./archive/durable ./archive/blobs ./archive/stream

check:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt: $$out"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

# Missing peers are installed where apt-get and the right to use it are there;
# elsewhere their tests say what they miss and are skipped.
peers:
	@missing=; for c in openssl javac unzip shellcheck pdftotext xmllint pip3 softhsm2-util curl jq; do command -v $$c >/dev/null || missing=1; done; \
	test -e /usr/share/java/bcpkix.jar || missing=1; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
		$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $(PEERS) >/dev/null \
		|| echo "peers could not be installed; their tests will be skipped"; \
	fi
	@python3 -c 'import bagit' 2>/dev/null || pip3 install --quiet bagit 2>/dev/null || pip3 install --quiet --break-system-packages bagit \
	|| echo "bagit could not be installed; its test will be skipped"
	@command -v minio >/dev/null || test -x "$$($(GO) env GOPATH)/bin/minio" || $(GO) install $(MINIO) || echo "minio could not be built; its tests will be skipped"
	@command -v versitygw >/dev/null || test -x "$$($(GO) env GOPATH)/bin/versitygw" || $(GO) install $(VERSITYGW) || echo "versitygw could not be built; its tests will be skipped"
	@dir="$$($(GO) env GOPATH)/opencmis"; mkdir -p "$$dir"; for p in $(OPENCMIS); do \
		sum=$${p%%:*}; rest=$${p#*:}; file="$$dir/$${rest%%:*}"; \
		test -e "$$file" || { curl -sSfL -o "$$file.part" "$(MAVEN)/$${rest#*:}" && echo "$$sum  $$file.part" | sha256sum -c --quiet && mv "$$file.part" "$$file"; } \
		|| { rm -f "$$file.part"; echo "opencmis could not be fetched; its test will be skipped"; }; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchtime 5x ./archive ./integrity/... ./archive/stream ./seda/...

SOAK ?= 30m
soak:
	$(GO) test -run '^TestSoak$$' -timeout 0 -v ./api -soak $(SOAK)

# Every fuzz target for a short time; FUZZTIME=10m for a long one.
FUZZTIME ?= 20s
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p || exit 1; \
		done; \
	done
