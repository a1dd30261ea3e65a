"""May this series be scored? Geometry first, then content; the answer is a verdict with reasons."""
