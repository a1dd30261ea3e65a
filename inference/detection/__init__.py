"""Lung box -> network -> candidates."""
