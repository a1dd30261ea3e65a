// One stream of events for all tabs of a browser, and the knowledge whether it is alive.
//
// HTTP/1.1 allows six connections to a server, so tabs share one stream: who holds the lock leads,
// and tells the others by a channel. Where there are no locks (a plain http address that is not
// this machine), every tab has its own, and closes it while it is hidden.

const NAME = "firstread-events";
// Two pings missed, and a little for the line.
const SILENT_PINGS = 2.2;

// page: {after, pingMs, onCase(caseId), onReload(), onLive(isLive)}
export function listen(page) {
  const channel = new BroadcastChannel(NAME);
  let position = page.after;
  let heardAt = performance.now();
  let isLive = true;
  let isLeading = false;
  let hasHeard = false;
  let source = null;
  let again = null;

  function hear(message) {
    heardAt = performance.now();
    // A tab that joins a running stream may have missed what came since its page was made.
    const hasMissed = !isLeading && !hasHeard && message.position > page.after;
    hasHeard = true;
    position = Math.max(position, message.position);
    setLive(true);
    if (message.kind === "reload" || hasMissed) page.onReload();
    else if (message.kind === "case") page.onCase(message.case);
  }

  function setLive(is) {
    if (is !== isLive) page.onLive(is);
    isLive = is;
  }

  function open() {
    close();
    source = new EventSource(`/events?after=${position}`);
    for (const kind of ["case", "ping", "reload"]) {
      source.addEventListener(kind, (event) => {
        const message = { kind, position: Number(event.lastEventId), ...JSON.parse(event.data) };
        channel.postMessage(message);
        hear(message);
      });
    }
    source.onerror = () => {
      // A browser comes back by itself from a cut line, but not from an answer that is no stream.
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        again = setTimeout(open, 1500 + 1500 * Math.random());
      }
    };
  }

  function close() {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  }

  channel.onmessage = ({ data }) => {
    if (data.kind === "hello") {
      if (isLeading) channel.postMessage({ kind: "ping", position });
    } else hear(data);
  };

  if (navigator.locks) {
    navigator.locks.request(NAME, () => new Promise(() => { isLeading = true; open(); }));
    channel.postMessage({ kind: "hello" });
  } else {
    isLeading = true;
    const follow = () => (document.hidden ? close() : open());
    document.addEventListener("visibilitychange", follow);
    follow();
  }
  addEventListener("pageshow", (event) => { if (event.persisted && isLeading) open(); });
  addEventListener("pagehide", close);
  setInterval(() => {
    if (!document.hidden && performance.now() - heardAt > SILENT_PINGS * page.pingMs) setLive(false);
  }, 500);
}
