# make install   .venv with the concord command in it (exact versions from requirements.lock)
# make demo      few labels, six seeds, on real digits; demo/report.html
# make test      format, lint, types, rooms and tests, as CI does
# make check     the same, on what is installed already
# make fix       let ruff format and mend
# make bench     training, counting and plain Python beside their peers
# make docs      build the site into docs/_build/html; check links, commands, examples, settings, pages
# make soak      twenty kills, twenty exact resumes; forty signals to every verb; receptive fields of 500 networks; own networks exported, compiled, in bfloat16; 2,000 forged runs, 2,000 forged studies; the kernel of the binary layers under sanitizers (minutes)
# make wheel     dist/*.whl for this platform, with the kernel of the binary layers, checked with auditwheel
# make lock      newest versions into requirements.lock

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CODE := src tests tools hatch_build.py docs/conf.py docs/formulas/pictures

.PHONY: install demo test check fix bench docs soak wheel lock clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("concord needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: install
	rm -rf demo
	$(BIN)/concord study --preset digits --out demo

test: install
	$(MAKE) check

check:
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile --durations=10

fix: install
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: install
	$(BIN)/concord bench train
	$(BIN)/concord bench cost
	$(BIN)/concord bench plain

docs: install
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/pytest tests/test_docs.py tests/test_docs_formulas.py

soak: install
	$(BIN)/pytest tests/test_soak_kills.py --soak -s
	$(BIN)/pytest tests/test_faults_moments.py --soak -s
	$(BIN)/pytest tests/test_cost_network_fuzz.py --soak
	$(BIN)/pytest tests/test_zoo_contract.py --soak --durations=10
	$(BIN)/pytest tests/test_foreign_fuzz.py tests/test_sequence_fuzz.py --soak
	$(BIN)/pytest tests/test_native_memory.py --soak

# OpenMP is torch's own, so auditwheel leaves it out. On an older Linux the wheel is good for more systems.
wheel: install
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/auditwheel show build/wheel/*.whl
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --exclude libgomp.so.1 --wheel-dir dist build/wheel/*.whl

lock: install
	$(BIN)/uv pip compile pyproject.toml --extra export --extra timm --extra heic --extra bench --extra docs --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet --upgrade -o requirements.lock

clean:
	rm -rf .venv demo build dist docs/_build
