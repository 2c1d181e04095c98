"""Fuzzers: programs that try many broken inputs; `make fuzz` runs them all."""
