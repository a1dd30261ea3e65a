"""The worklist: states of a case, what is urgent, what a row shows, and the list itself."""
