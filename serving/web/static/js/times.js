// Times in the reader's own zone. Without this script every time stands there in UTC.

const words = () => JSON.parse(document.body.dataset.words);
const announced = new Set();

// The text of a span in minutes: 7 min, 2 h 5 min, 3 d 4 h.
function span(minutes) {
  const say = (key, values) => words()[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  if (minutes < 60) return say("minutes", { minutes });
  if (minutes < 60 * 24) return say("hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
  return say("days", { days: Math.floor(minutes / 1440), hours: Math.floor((minutes % 1440) / 60) });
}

function show(element, format) {
  const at = new Date(element.dateTime);
  const minutes = Math.floor((Date.now() - at) / 60000);
  const local = format.format(at);
  element.title = local;
  if (element.dataset.form === "since") element.textContent = span(Math.max(0, minutes));
  else if (element.dataset.form === "due") due(element, minutes);
  else element.textContent = local;
}

function due(element, minutes) {
  const isOver = minutes >= 0;
  const isSoon = !isOver && minutes >= -10;
  element.textContent = isOver
    ? words().over.replace("{span}", span(minutes))
    : words().left.replace("{span}", span(-minutes));
  element.classList.toggle("over", isOver);
  element.classList.toggle("soon", isSoon);
  // A screen reader hears once of a case that will be late.
  const row = element.closest("[data-case]");
  const teller = document.getElementById("told");
  if (isSoon && row && teller && !announced.has(row.dataset.case)) {
    announced.add(row.dataset.case);
    teller.textContent = words().soon.replace("{name}", row.dataset.name);
  }
}

export function showTimes(root = document) {
  // 2026-11-25 13:46:16: read the same everywhere.
  const format = new Intl.DateTimeFormat("sv-SE", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23",
  });
  for (const element of root.querySelectorAll("time[datetime]")) show(element, format);
}

showTimes();
setInterval(showTimes, 10000);
document.addEventListener("htmx:afterSwap", () => showTimes());
