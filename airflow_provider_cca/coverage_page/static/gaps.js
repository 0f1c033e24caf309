// The list of what is missing: one line a gap, nearest deadline first, and how to close it.
import { fixFor } from "./fixes.js";
import { bytes, daysLeft, isOpen, make, missing, number, reportOf, shortDate, some, STATES, swatch, within } from "./words.js";

const FIRST = 5;
const MORE = 100;
const SOON_DAYS = 14;
const COLUMNS = ["Vanishes", "Created", "Report", "Missing", "Size", "Fix"];

export function showGaps(snapshot, section) {
  const rows = make("tbody");
  const more = make("button", { type: "button", class: "more" });
  const gaps = snapshot.gaps;
  let shown = 0;
  const show = (count) => {
    rows.append(...gaps.slice(shown, shown + count).flatMap((gap, at) => line(gap, shown + at)));
    shown = Math.min(gaps.length, shown + count);
    more.hidden = shown === gaps.length;
    const rest = gaps.length - shown;
    more.textContent = rest > MORE ? `Show ${MORE} more of the other ${number(rest)}` : `Show the other ${rest}`;
  };
  more.addEventListener("click", () => {
    const next = rows.children.length;
    show(MORE);
    rows.children[next]?.querySelector("button")?.focus();
  });
  show(FIRST);
  const head = make("thead", {}, make("tr", {}, ...COLUMNS.map((name) => make("th", { scope: "col" }, name))));
  const unlisted = snapshot.gaps_total - gaps.length;
  section.querySelector(".wide").replaceChildren(
    make("table", { class: "gaps" }, head, rows),
    more,
    unlisted > 0 ? make("p", { class: "muted" }, `Not listed: ${some(unlisted, "further gap")}.`) : "",
  );
  section.hidden = gaps.length === 0;
}

function line(gap, index) {
  const id = `fix-${index}`;
  const label = `Fix: ${reportOf(gap.report).title}, ${gap.site ?? gap.level ?? "all"}, ${shortDate(gap.partition)}`;
  const button = make(
    "button",
    { type: "button", class: "how", "aria-expanded": "false", "aria-controls": id, "aria-label": label },
    "Fix",
  );
  const row = make(
    "tr",
    { "data-state": gap.state },
    make("td", {}, deadline(gap)),
    make("td", {}, make("time", { datetime: gap.partition }, shortDate(gap.partition))),
    make("th", { scope: "row" }, reportOf(gap.report).title, where(gap)),
    make("td", {}, amount(gap)),
    make("td", {}, bytes(gap.bytes - gap.landed_bytes)),
    make("td", {}, button),
  );
  const cell = make("td", { colspan: String(COLUMNS.length) });
  const details = make("tr", { id, class: "details", hidden: true }, cell);
  button.addEventListener("click", () => {
    const open = details.hidden;
    details.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) cell.replaceChildren(fixFor(gap));
  });
  return [row, details];
}

function deadline(gap) {
  const days = daysLeft(gap);
  if (!isOpen(gap)) return make("span", { class: "badge", "data-urgency": "lost" }, swatch("lost"), "lost");
  if (days === null) return make("span", { class: "badge" }, "not known");
  return make("span", { class: "badge", "data-urgency": days <= SOON_DAYS ? "soon" : "later" }, within(days));
}

function where({ site, level }) {
  const place = site ?? (level && `level ${level}`);
  return place ? make("span", { class: "muted" }, ` ${place}`) : null;
}

function amount(gap) {
  const gone = missing(gap) || gap.lost;
  const text = gap.files ? `${number(gone)} of ${some(gap.files, "file")}` : STATES[gap.state].name;
  return isOpen(gap) ? make("span", { class: "amount" }, swatch(gap.state), text) : text;
}
