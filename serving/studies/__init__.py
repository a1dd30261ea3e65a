"""The life of a study: received, settled, analysed, superseded. Composes the stores below."""
