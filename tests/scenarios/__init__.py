"""Scenarios of processors and reconciliation, as a table, played on the real stack.

`rows` says what a row is, `table` holds them, `document` writes them down for readers (docs/scenarios.md). `stage` is
the stack that they are played on and what can be done to it, `log` follows its events, `rendezvous` brings rows
together that want the same done, `player` plays one row, `playbill` all of them, `books` compares how each has ended.
"""
