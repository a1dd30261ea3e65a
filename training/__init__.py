"""From data sets to a model package: readers, synthesis, networks, loop, export, evaluation."""
