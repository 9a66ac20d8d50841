"""Reports of profiles: tables for the terminal, one HTML file for everyone else."""

from .sizes import sizes_table
from .table import Table, compare_table, profile_tables

__all__ = ["Table", "compare_table", "profile_tables", "sizes_table"]
