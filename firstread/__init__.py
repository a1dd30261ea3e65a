"""What every room of the house needs: errors, sentences, YAML, UIDs, progress, version."""
