"""The methods under test, one adapter per file. Start with `chance.py`; the contract is `benchmark/baseline.py`."""
