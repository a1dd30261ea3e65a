"""Exit codes that are no error's own (docs/cli.md)."""

# Of a verdict: scored, or why not.
EXIT_OF_STATUS = {"accept": 0, "limits": 0, "resend": 4, "refuse": 5}
# Stopped by the keyboard or by a signal before the work was complete, as shells count it.
EXIT_INTERRUPTED = 130
