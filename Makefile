# Peft: every target works alone on a fresh clone; `make help` lists them.
#
# Variables: RECIPE, BASE, ARGS, ADAPTER, FORMAT, RESULTS, TEMPLATE, KILLS and MINUTES (see `make help`),
#            LIBTORCH=/path    build against this libtorch instead of Debian's libtorch-dev
#            DUCKDB_LIB=/path  use this libduckdb.so instead of the one from npm
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# What comes from Debian, by name. The npm packages and their versions stand in data/package.json.
DEBIAN_NATIVE := cmake g++ make
DEBIAN_TORCH  := libtorch-dev libopenblas0-openmp
DEBIAN_NODE   := nodejs npm
DEBIAN_DATA   := wordnet-base
# Only `make test` asks for it; without it the tests that need a browser are skipped.
DEBIAN_TEST   := chromium
NODE_NEEDED   := 18

RECIPE   ?= recipes/default.yaml
BASE     ?=
ARGS     ?=
ADAPTER  ?= adapters/default
RESULTS  ?= $(ADAPTER)/evaluation
TEMPLATE ?= report.html
TESTS    ?= Peft.sln
FILTER   ?=
KILLS    ?= 200
MINUTES  ?=
FORMAT   ?= peft
COUNT    ?= 1000000
SEED     ?= 1

# The tasks of `make merge`: data sets of recipes/merge.yaml.
MERGED  := g2p gloss_pos lemma spam
# Gates of small batches want steps in proportion to their gradient: AdamW would lift its noise to the signal's size (src/DECISIONS.md).
GATED   := training.optim=sgd training.momentum=0.9 training.learning_rate=0.5 training.lr_scheduler_type=constant

ART     := .artifacts
PUBLISH := $(ART)/publish
NPM     := $(ART)/npm
CLI     := src/Peft.Cli/Peft.Cli.csproj
# Not spelled out in a recipe: make would run that recipe under -n too.
AGAIN    = $(MAKE)

ifneq ($(LIBTORCH),)
export LIBTORCH
endif
ifneq ($(DUCKDB_LIB),)
export DUCKDB_LIB
endif
export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1
export DOTNET_CLI_UI_LANGUAGE := en
export DOTNET_SKIP_FIRST_TIME_EXPERIENCE := 1
# No build server outlives its make: it would hold this checkout's lock and memory.
export MSBUILDDISABLENODEREUSE := 1

DOTNET_QUIET := -c Release -nologo -v quiet --tl:off -p:UseSharedCompilation=false

# One build or installation at a time in one checkout; make's own recipes hold the lock, programs they start do not.
LOCK := mkdir -p $(ART); exec 9> $(ART)/.lock; flock 9

.PHONY: help setup build data train merge eval report export compare test soak fuzz bench lint clean

help: ## this list
	@echo "usage: make TARGET [VARIABLE=value]..."
	sed -n -E 's/^([a-z]+):[^#]*## (.*)$$/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r name remark; do printf '  %-8s %s\n' "$$name" "$$remark"; done
	echo "variables: LIBTORCH=/path (another libtorch), DUCKDB_LIB=/path (another libduckdb.so), ARGS='...' (passed on to bin/peft)"

setup: ## install what is missing: Debian packages by name, npm packages into .artifacts/npm
	@$(LOCK)
	if ! command -v dotnet > /dev/null || ! dotnet --list-sdks | grep -q -E '^([1-9][0-9]{2}|[1-9][0-9])\.'; then
	  echo "make setup: the .NET 10 SDK is missing (dotnet is not on PATH, or has no SDK): install dotnet-sdk-10.0, then run make again" >&2
	  exit 2
	fi
	if [ -n "$${LIBTORCH:-}" ] && [ ! -e "$$LIBTORCH/share/cmake/Torch/TorchConfig.cmake" ]; then
	  echo "make setup: LIBTORCH=$$LIBTORCH has no share/cmake/Torch/TorchConfig.cmake: give the folder that holds include/, lib/ and share/" >&2
	  exit 2
	fi
	if [ -n "$${DUCKDB_LIB:-}" ] && [ ! -e "$$DUCKDB_LIB" ]; then
	  echo "make setup: DUCKDB_LIB=$$DUCKDB_LIB does not exist: give a libduckdb.so, or leave it out" >&2
	  exit 2
	fi
	wanted="$(DEBIAN_NATIVE) $(DEBIAN_DATA)"
	[ -n "$${LIBTORCH:-}" ] || wanted+=" $(DEBIAN_TORCH)"
	node_version=$$(node --version 2> /dev/null | sed -E 's/^v([0-9]+).*/\1/' || true)
	if [ "$${node_version:-0}" -lt $(NODE_NEEDED) ] || ! command -v npm > /dev/null; then wanted+=" $(DEBIAN_NODE)"; fi
	missing=""
	if command -v dpkg-query > /dev/null; then
	  installed=" $$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' 2> /dev/null | sed -n 's/^installed //p' | tr '\n' ' ') "
	  for package in $$wanted; do [[ "$$installed" == *" $$package "* ]] || missing+=" $$package"; done
	else
	  for program in cmake g++ node npm; do command -v $$program > /dev/null || missing+=" $$program"; done
	  if [ -n "$$missing" ]; then
	    echo "make setup: no dpkg here, so nothing can be installed by name; missing:$$missing" >&2
	    exit 2
	  fi
	fi
	if [ -n "$$missing" ]; then
	  if [ "$$(id -u)" = 0 ]; then as_root=""
	  elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then as_root="sudo"
	  else
	    echo "make setup: these Debian packages are missing and only root can install them. Run as root, then make again:" >&2
	    echo "  apt-get update && apt-get install -y --no-install-recommends$$missing" >&2
	    exit 2
	  fi
	  echo "installing Debian packages:$$missing" >&2
	  $$as_root apt-get update -qq >&2
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing < /dev/null >&2
	fi
	if ! cmp -s data/package.json $(NPM)/.stamp; then
	  echo "installing npm packages into $(NPM)" >&2
	  mkdir -p $(NPM)
	  rm -f $(NPM)/.stamp
	  cp data/package.json $(NPM)/package.json
	  npm install --prefix $(NPM) --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error < /dev/null >&2
	  cp data/package.json $(NPM)/.stamp
	fi

build: setup ## build bin/peft (Release, ahead-of-time compiled start-up) and the libtorch shim
	@$(LOCK)
	stamp=$(PUBLISH)/.stamp
	# What the outputs depend on besides file times: which libtorch, which SDK, and which checkout folder.
	identity="$${LIBTORCH:-system} $${PEFT_TORCH_NATIVE:-} $$(readlink -f "$$(command -v dotnet)") $(CURDIR)"
	sources="src Directory.Build.props Directory.Packages.props .editorconfig $(wildcard global.json nuget.config NuGet.config)"
	if [ -x bin/peft ] && [ -e $$stamp ] && [ "$$(cat $$stamp)" = "$$identity" ] \
	  && [ -z "$$(find $$sources -newer $$stamp -not -name '*.md' -print -quit)" ]; then exit 0; fi
	mkdir -p $(ART)
	rm -f $$stamp
	printf '%s' "$$identity" > $(ART)/.stamp.new
	echo "building bin/peft" >&2
	dotnet publish $(CLI) $(DOTNET_QUIET) -o $(PUBLISH) >&2 9>&-
	mkdir -p bin
	printf '%s\n' '#!/bin/sh' \
	  '# Starts the published program; finds the .NET runtime beside the dotnet on PATH when DOTNET_ROOT does not say.' \
	  'here=$$(dirname "$$(readlink -f "$$0")")' \
	  'if [ -z "$$DOTNET_ROOT" ] && command -v dotnet > /dev/null; then' \
	  '  DOTNET_ROOT=$$(dirname "$$(readlink -f "$$(command -v dotnet)")")' \
	  '  export DOTNET_ROOT' \
	  'fi' \
	  'exec "$$here/../$(PUBLISH)/peft" "$$@"' > bin/.peft.new
	chmod +x bin/.peft.new
	mv bin/.peft.new bin/peft
	# mv keeps the time at which the build began: a file saved meanwhile is newer.
	mv $(ART)/.stamp.new $$stamp

data: setup ## write the Parquet data sets under data/cache from the installed packages
	@$(LOCK)
	node data/prepare.mjs

train: build data ## train RECIPE (default recipes/default.yaml); BASE=DIR another base model; ARGS=... more options
	@exec bin/peft train $(RECIPE) $(if $(BASE),--set model.model_name_or_path=$(BASE)) $(ARGS)

merge: build data ## train four adapters apart, gate and merge them in every way, compare; ARGS=... for peft merge
	@one() {
	  recipe=merge; only="--set data.only=$$1"
	  if [ $$1 = joint ]; then recipe=merge-joint; only=""; fi
	  bin/peft train recipes/$$recipe.yaml --output adapters/merge/$$1 --overwrite $$only --set evaluation.tasks=[] --set data.eval=[]
	  [ $$1 = joint ] || bin/peft gate --adapter adapters/merge/$$1 $(addprefix --set ,$(GATED))
	}
	export -f one
	# Side by side, a thread each: models this small gain little from a second one, and so the numbers are the same on any number of cores.
	# Those that take longest begin.
	printf '%s\n' joint spam $(filter-out spam,$(MERGED)) | OMP_NUM_THREADS=1 xargs -P "$$(nproc)" -I{} bash -euo pipefail -c \
	  'one {} 2>&1 | { trap "" INT TERM; exec sed -u "s/^/{}: /"; }'
	exec bin/peft merge --method all $(addprefix adapters/merge/,$(MERGED)) --recipe recipes/merge.yaml --beside adapters/merge/joint \
	  --output adapters/merged --overwrite $(ARGS)

eval: build data ## measure ADAPTER (default adapters/default, trained when missing) and its base; ARGS='--tasks a,b' and more options
	@if [ "$(ADAPTER)" = adapters/default ] && [ ! -e adapters/default/bundle.json ]; then bin/peft train recipes/default.yaml --resume auto; fi
	# Results that are there are replaced; an evaluation that was interrupted goes on.
	again=""; if [ ! -e $(ADAPTER)/evaluation/journal.jsonl ]; then again=--overwrite; fi
	exec bin/peft eval --adapter $(ADAPTER) $(if $(BASE),--base $(BASE)) --output $(ADAPTER)/evaluation $$again $(ARGS)

report: build ## report of what was measured (adapters/default, when missing by make eval); RESULTS='DIR...', TEMPLATE=a name or file
	@if [ "$(RESULTS)" = "$(ADAPTER)/evaluation" ] && [ ! -e "$(RESULTS)/results.json" ]; then $(AGAIN) eval; fi
	exec bin/peft report $(RESULTS) --template $(TEMPLATE) --output $(ADAPTER)/report/$(patsubst %.hbs,%,$(notdir $(TEMPLATE))) --overwrite $(ARGS)

compare: build data ## every method with equally many trained values, three seeds, as a table; ARGS='--steps 300 --seeds 3 --methods a,b'
	@$(LOCK)
	dotnet build tests/Peft.Compare/Peft.Compare.csproj $(DOTNET_QUIET) >&2 9>&-
	exec 9>&-
	exec dotnet run -c Release --no-build --project tests/Peft.Compare -- $(ARGS)

export: build data ## write ADAPTER (default adapters/default) as Hugging Face reads it, beside it; FORMAT=peft or merged, BASE=DIR, ARGS=...
	@if [ "$(ADAPTER)" = adapters/default ] && [ ! -e adapters/default/bundle.json ]; then bin/peft train recipes/default.yaml --resume auto; fi
	exec bin/peft adapter export $(ADAPTER) $(if $(BASE),--base $(BASE)) --format $(FORMAT) --output $(ADAPTER)-$(FORMAT) --overwrite $(ARGS)

test: build data ## build and run every test; TESTS=a project, FILTER=an expression of dotnet test
	@$(LOCK)
	case "$(TESTS)" in *.sln|*Evaluation*) needed="$(DEBIAN_TEST)";; *) needed="";; esac
	for package in $$needed; do
	  ! command -v $$package > /dev/null || continue
	  if ! command -v apt-get > /dev/null; then why="there is no apt-get here"
	  elif [ "$$(id -u)" = 0 ]; then as_root=""; why=""
	  elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then as_root="sudo"; why=""
	  else why="only root can install it: apt-get install -y --no-install-recommends $$package"
	  fi
	  if [ -z "$$why" ]; then
	    echo "installing the Debian package $$package" >&2
	    $$as_root apt-get update -qq >&2 9>&- && $$as_root env DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends $$package < /dev/null >&2 9>&- || why="its installation failed"
	  fi
	  [ -z "$$why" ] || echo "make test: $$package is missing ($$why); the tests that need it are skipped" >&2
	done
	log=$(ART)/test.log
	dotnet build $(TESTS) $(DOTNET_QUIET) >&2 9>&-
	# The lock is for builds.
	exec 9>&-
	status=0
	dotnet test $(TESTS) -c Release --no-build -nologo --tl:off --results-directory $(ART)/test-results \
	  --blame-hang-timeout 15min --blame-hang-dump-type none $(if $(FILTER),--filter '$(FILTER)') 2>&1 | tee $$log || status=$$?
	# vstest closes each project with: Passed!  - Failed: 0, Passed: 3, Skipped: 0, Total: 3, Duration: ... - Name.dll
	sed -n -E 's/^.*Failed: +([0-9]+), Passed: +([0-9]+), Skipped: +([0-9]+), Total: .* - ([A-Za-z0-9.]+)\.dll.*$$/\1 \2 \3 \4/p' $$log > $$log.sums
	echo
	while read -r failed passed skipped name; do printf '%-32s %5d passed %3d failed %3d skipped\n' "$$name" "$$passed" "$$failed" "$$skipped"; done < <(sort -k4 $$log.sums)
	read -r failed passed skipped < <(awk '{ f += $$1; p += $$2; s += $$3 } END { print f + 0, p + 0, s + 0 }' $$log.sums)
	if [ "$$status" != 0 ] && [ "$$failed" = 0 ]; then
	  echo "a test host ended without its results (see $$log)"
	  failed=1
	fi
	tally="$$passed passed, $$failed failed"
	[ "$$skipped" = 0 ] || tally+=", $$skipped skipped"
	if [ "$$passed" = 0 ] && [ "$$failed" = 0 ]; then
	  echo "no test ran"
	  status=1
	fi
	[ "$$failed" = 0 ] || status=1
	echo "$$tally"
	exit $$status

soak: build data ## kill training KILLS times (default 200) and compare; MINUTES=60 trains RECIPE so long and watches the memory
	@$(LOCK)
	dotnet build tests/Peft.Soak/Peft.Soak.csproj $(DOTNET_QUIET) >&2 9>&-
	exec 9>&-
	exec dotnet run -c Release --no-build --project tests/Peft.Soak -- $(if $(MINUTES),memory $(MINUTES) $(RECIPE),kills $(KILLS) $(SEED))

fuzz: setup ## a million mutated inputs through every reader of files; COUNT=inputs, SEED=other inputs, ARGS='--parser NAME'
	@$(LOCK)
	dotnet build tests/Peft.Fuzz.Tests $(DOTNET_QUIET) >&2 9>&-
	exec 9>&-
	exec dotnet run -c Release --no-build --project tests/Peft.Fuzz.Tests -- --count $(COUNT) --seed $(SEED) $(ARGS)

bench: build ## measure speed and memory (tests/Peft.Benchmarks); ARGS=... for the benchmark program
	@if [ ! -e tests/Peft.Benchmarks/Peft.Benchmarks.csproj ]; then echo "make bench: tests/Peft.Benchmarks does not exist in this checkout" >&2; exit 2; fi
	exec dotnet run -c Release --project tests/Peft.Benchmarks -- $(ARGS)

lint: build ## check formatting, analyzers and the shim, warnings as errors
	@$(LOCK)
	# Analyzers run here only, in outputs of their own: they take longer than compiling. The shim's warnings are errors in any build.
	PEFT_TORCH_NATIVE="$$(readlink -f $(PUBLISH)/libpeft_torch.so)" \
	  dotnet build Peft.sln $(DOTNET_QUIET) -warnaserror -p:Lint=true --artifacts-path $(ART)/lint >&2 9>&-
	dotnet format whitespace Peft.sln --verify-no-changes --no-restore
	echo "lint: no findings"

clean: ## remove bin/ and the build outputs; ALL=1 also the npm packages and data/cache (adapters always stay)
	@rm -rf bin $(ART)/bin $(ART)/obj $(ART)/native $(ART)/publish $(ART)/test-results $(ART)/test.log*
	$(if $(ALL),rm -rf $(ART) data/cache)
