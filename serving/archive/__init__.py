"""The archive: objects by their SHA-256, and the index of studies, series and instances."""
