# make demo   runs the main job on real input and says what it made and where
# make test   format, lint, types and the whole test suite
#
# Everything is installed into .venv (and .uv, where there is no uv; uv keeps a cache). Python: one of the default line (3.11 or
# 3.12), which uv finds or installs whatever `python3` is. Another: make test PYTHON=3.13

PYTHON ?= >=3.11,<3.13
FRAMES ?=
OUT ?=
MINUTES ?=
# Not empty: leave out the tests that are the same on every Python, and have run on the default one.
ONCE ?=
SEED ?=
# An extra: what `make test` brings for the tests of its default line, the build without CUDA, never in the lock.
# Without: make test TORCH=
TORCH ?= 2.13.0
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
# The first line is the default one; .venv-3.13 beside it holds the other, for `make test`.
VENV ?= .venv
RUN := $(VENV)/bin
# uv takes interpreters from PATH; pyenv keeps those that are not chosen out of it.
export PATH := $(PATH):$(shell pyenv prefix 3.13 2>/dev/null)/bin
export UV_NO_PROGRESS := 1
export FRAMES OUT

.PHONY: demo pictures test pytest lint bench peers soak chaos lock clean

demo: $(VENV)/.ready
	@$(RUN)/python -m ray_jobs.demo $(if $(FRAMES),--frames "$$FRAMES") $(if $(OUT),--out "$$OUT")

# The images of README and docs/pictures.md, from the demo's clips.
pictures: demo
	@$(RUN)/python -m ray_jobs.demo_pictures

test: lint pytest
	@if ! $(UV) python find 3.13 >/dev/null 2>&1; \
	then echo 'no Python 3.13 here: what needs mediapipe 1.x was not tested'; \
	elif ! $(RUN)/python -c 'import ctypes; ctypes.CDLL("libEGL.so.1")' 2>/dev/null; \
	then echo 'no libEGL.so.1 here (Debian: libegl1 libgles2): what needs mediapipe 1.x was not tested'; \
	else $(MAKE) --no-print-directory VENV=.venv-3.13 PYTHON=3.13 TORCH= ONCE=1 pytest; fi

pytest: $(VENV)/.ready $(if $(TORCH),$(VENV)/.torch)
	$(if $(TORCH),TORCH_PROMISED=1) $(RUN)/pytest -n 2 --dist loadfile -m 'not serial$(if $(ONCE), and not once)'
	$(if $(TORCH),TORCH_PROMISED=1) $(RUN)/pytest -n 2 --dist loadfile -m 'serial$(if $(ONCE), and not once)' \
		--ignore tests/ray_jobs/test_chaos.py
	$(RUN)/pytest -m 'serial$(if $(ONCE), and not once)' tests/ray_jobs/test_chaos.py || [ $$? = 5 ]

lint: $(VENV)/.ready
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy

# make soak MINUTES=20 · make chaos MINUTES=5 SEED=1
soak: $(VENV)/.ready
	$(RUN)/python benchmarks/soak.py --minutes $(or $(MINUTES),20)

chaos: $(VENV)/.ready
	$(RUN)/python benchmarks/chaos.py --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1)

bench: $(VENV)/.ready
	$(RUN)/python benchmarks/throughput.py

peers: $(VENV)/.ready
	$(RUN)/python benchmarks/peers.py $(if $(FRAMES),--frames "$$FRAMES")

$(VENV)/.ready: requirements.lock pyproject.toml | $(filter .uv/bin/uv,$(UV))
	@rm -f $@
	$(UV) venv --quiet --allow-existing --python '$(PYTHON)' $(VENV)
	$(UV) pip sync --quiet --python $(VENV) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .
	echo '$(PYTHON)' > $@

# By pip, which knows of wheels that lie on this machine; by uv from PyTorch's own place. What torch needs beside
# is in the lock; whatever makes .venv anew takes torch away, and this brings it back.
$(VENV)/.torch: $(VENV)/.ready
	@rm -f $@
	$(UV) tool run --quiet pip --python $(RUN)/python install --quiet --no-deps torch==$(TORCH)+cpu || \
		$(UV) pip install --quiet --python $(VENV) --no-deps --torch-backend cpu torch==$(TORCH) || \
		{ echo 'torch $(TORCH) is not to be had here: make test TORCH= does without it'; exit 1; }
	@touch $@

# Another PYTHON than the one .venv was made for: make it anew.
ifneq ($(PYTHON),$(shell cat $(VENV)/.ready 2>/dev/null))
.PHONY: $(VENV)/.ready
endif

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

# Both lines in one lock. No uv.lock: it would write the address of a registry on every line.
lock: | $(filter .uv/bin/uv,$(UV))
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra headless --group dev \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-3.13 .venv-peers .uv demo-out
