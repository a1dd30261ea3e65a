"""What strace has seen, in the order in which it came back."""

import re

# What makes bytes and names durable, and what may tell somebody that they are.
WATCHED = ("-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write,sendto,sendmsg")


class Calls:
    """System calls that came back without an error, in the order in which they did."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = []
        unfinished: dict[str, str] = {}
        for line in lines:
            thread, call = line.split(maxsplit=1)
            if call.endswith("<unfinished ...>"):
                unfinished[thread] = call.removesuffix("<unfinished ...>")
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>", call)
            whole = unfinished.pop(thread) + call[resumed.end() :] if resumed else call
            if not re.search(r"= -1 ", whole):
                self.lines.append(whole)

    def durable(self, key: str) -> int:
        """Return the place behind which an object and its name are on disk, in the right order."""
        renamed = self.first(rf'rename.*/tmp/[^"]+".*/{key}"')
        (temporary,) = re.findall(r'/tmp/([^"/]+)"', self.lines[renamed])
        synced = self.first(rf"f(data)?sync\(\d+<.*/tmp/{re.escape(temporary)}>")
        assert synced < renamed
        return self.after(rf"fsync\(\d+<.*/{key[:2]}>", renamed)

    def after(self, pattern: str, place: int) -> int:
        """Return the place of the first such call behind another."""
        return next(
            n for n, line in enumerate(self.lines) if n > place and re.search(pattern, line)
        )

    def first(self, pattern: str) -> int:
        """Return the place of the first such call."""
        return self.after(pattern, -1)

    def last(self, pattern: str, before: int) -> int:
        """Return the place of the last such call before another."""
        return max(n for n in range(before) if re.search(pattern, self.lines[n]))
