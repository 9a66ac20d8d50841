"""The command line ``mj``: one small module per verb."""

from .main import main

__all__ = ["main"]
