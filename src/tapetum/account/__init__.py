"""Cost of a run: FLOPs, time, energy and CO2, in a ledger stored beside it."""
