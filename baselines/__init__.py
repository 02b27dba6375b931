"""The methods under test, one adapter per file. Start with `chance.py`; the contract is `benchmark/baseline.py`."""

import os

# Two trainings on one machine otherwise spend their time spinning for each other's threads: on 2 cores each ran at
# a tenth of its speed, with this at two fifths; alone, the speed is the same. Read when torch loads its OpenMP.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Without it cuBLAS may add in another order from one call to the next.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
