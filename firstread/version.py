"""The version of Firstread, part of every result's identity: raise it when written bytes change."""

__version__ = "0.1.0"
