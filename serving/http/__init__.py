"""Plumbing of the web process, shared by the programs' and the people's side."""
