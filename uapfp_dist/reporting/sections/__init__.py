"""Sections of a report: each a few tables and figures, with the numbers behind them."""
