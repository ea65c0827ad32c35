"""Figures that are measured, never asserted by a test: each module prints one measurement."""
