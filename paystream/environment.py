"""The settings of the process that runs a command, or the end of it with what is wrong. Driven by every command."""

from __future__ import annotations

import logging
import os
import sys

import typer

from paystream.settings import Settings, SettingsError, load

__all__ = ["process_settings"]


def process_settings(*required: str) -> Settings:
    """The settings of this process; on a problem, says what is wrong and exits with 2."""
    try:
        settings = load(os.environ, required=required)
    except SettingsError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(2) from None
    logging.basicConfig(
        level=settings["log_level"], format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    return settings
