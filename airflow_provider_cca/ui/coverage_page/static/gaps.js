// Two lists: what is missing, nearest deadline first, with the way to land it; and what is lost.
import { fixFor } from "./fixes.js";
import { bytes, daysLeft, isOpen, make, missing, number, reportOf, shortDate, some, swatch, within } from "./words.js";

const FIRST = 5;
const MORE = 100;
const SOON_DAYS = 14;
const MISSING = ["Cisco deletes it", "Created", "Report", "Missing", "Size", "Fix"];
const LOST = ["Created", "Report", "Lost"];

/** A gap of which some files are lost and others can still be landed stands in both. */
export function showGaps({ gaps, gaps_total: total }, openSection, lostSection) {
  const lost = gaps.filter((gap) => gap.lost);
  const unlisted = total - gaps.length;
  list(openSection, MISSING, gaps.filter(isOpen), openLine, lost.length ? 0 : unlisted);
  list(lostSection, LOST, lost, lostLine, unlisted);
}

function list(section, columns, gaps, line, unlisted) {
  const rows = make("tbody");
  const more = make("button", { type: "button", class: "more" });
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
  const head = make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name))));
  section.querySelector(".wide").replaceChildren(
    make("table", { class: "gaps" }, head, rows),
    more,
    unlisted > 0 ? make("p", { class: "muted" }, `Not listed: ${some(unlisted, "further gap")}.`) : "",
  );
  section.hidden = gaps.length === 0;
}

function openLine(gap, index) {
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
    ...whatItIs(gap),
    make("td", {}, make("span", { class: "amount" }, swatch(gap.state), filesOf(missing(gap), gap))),
    make("td", {}, bytes(gap.bytes - gap.landed_bytes)),
    make("td", {}, button),
  );
  const cell = make("td", { colspan: String(MISSING.length) });
  const details = make("tr", { id, class: "details", hidden: true }, cell);
  button.addEventListener("click", () => {
    const open = details.hidden;
    details.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) cell.replaceChildren(fixFor(gap));
  });
  return [row, details];
}

function lostLine(gap) {
  return make(
    "tr",
    { "data-state": gap.state },
    ...whatItIs(gap),
    make("td", {}, make("span", { class: "amount" }, swatch("lost"), filesOf(gap.lost, gap))),
  );
}

function whatItIs({ report, site, level, partition }) {
  const place = site ?? (level && `${level} level`);
  return [
    make("td", {}, make("time", { datetime: partition }, shortDate(partition))),
    make("th", { scope: "row" }, reportOf(report).title, place ? make("span", { class: "muted" }, `, ${place}`) : null),
  ];
}

function deadline(gap) {
  const days = daysLeft(gap);
  if (days === null) return make("span", { class: "badge" }, "not known");
  return make("span", { class: "badge", "data-urgency": days <= SOON_DAYS ? "soon" : "later" }, within(days));
}

const filesOf = (count, { files }) => `${number(count)} of ${some(files, "file")}`;
