"""See that ``make run`` shows what it promises: ``python -m tests.serving.demonstration [URL]``.

Logs in as anybody may, waits until the four studies are decided, and checks their order.
"""

import re
import sys
import time

import httpx

from serving.accounts import demonstration

LIMIT_S = 300.0
DECIDED = {"scored", "not-analysed"}


def log_in(
    client: httpx.Client,
    name: str = demonstration.NAME,
    password: str = demonstration.PASSWORD,
) -> None:
    """Log in as a browser does; the default is the demonstration's reader."""
    page = client.get("/login")
    csrf = re.search(r'name="csrf_token"\s+value="([^"]*)"', page.text)
    form = {"name": name, "password": password}
    form |= {"csrf_token": csrf.group(1)} if csrf else {}
    answer = client.post("/login", data=form)
    if answer.status_code >= 400 or "/login" in str(answer.url):
        raise SystemExit(f"the log-in was refused: {answer.status_code}")


def main() -> None:
    """Wait, check, print."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8042"
    started = time.monotonic()
    with httpx.Client(base_url=url, follow_redirects=True, timeout=30) as client:
        log_in(client)
        while True:
            listed = client.get("/api/v1/worklist").raise_for_status().json()["cases"]
            if len(listed) == 4 and all(case["ai_state"] in DECIDED for case in listed):
                break
            if time.monotonic() - started > LIMIT_S:
                raise SystemExit(f"after {LIMIT_S:.0f} s: {[c['ai_state'] for c in listed]}")
            time.sleep(0.5)
    for case in listed:
        sys.stdout.write(
            f"{case['urgency_class']:<12} {case['ai_state']:<13} {case['summary']['status']:<7} "
            f"{case['summary']['findings']} findings\n"
        )
    found = [(case["urgency_class"], case["summary"]["status"]) for case in listed]
    wanted = [("ai-critical", "accept"), *[("routine", s) for s in ("resend", "accept", "accept")]]
    if found != wanted:
        raise SystemExit(f"on the list: {found}, expected {wanted}")
    if [case["due_at"] for case in listed[1:]] != sorted(case["due_at"] for case in listed[1:]):
        raise SystemExit("routine cases are not in the order of their due times")
    sys.stdout.write(f"all four in order after {time.monotonic() - started:.0f} s\n")


if __name__ == "__main__":
    main()
