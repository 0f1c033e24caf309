// One calendar a report: a column a week and a row a weekday, or a cell a month; read by eye, key and ear.
import { fixFor } from "./fixes.js";
import { bytes, dateOf, daysLeft, isOpen, longDate, make, number, shortDate, some, STATES, swatch, titleOf, within } from "./words.js";

const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MS = 86_400_000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Partition shown by a cell; the cells stay light. */
const shownBy = new WeakMap();

export function calendar(row, index) {
  const title = `calendar-${index}`;
  const detail = make("div", { class: "detail", role: "status" });
  const cells = row.partitions.map(cell);
  const grid = row.grain === "month" ? months(row, cells, title) : weeks(row, cells, title);
  listen(grid, cells, row, detail);
  return make(
    "section",
    { class: "calendar", "data-grain": row.grain, "aria-labelledby": title },
    make("h3", { id: title }, titleOf(row)),
    make("p", { class: "summary" }, ...summary(row)),
    grid,
    detail,
    ...table(row),
  );
}

function summary(row) {
  if (!row.partitions.length) return ["nothing looked at"];
  const count = (state) => row.partitions.filter((partition) => partition.state === state).length;
  const bad = ["missing", "partly", "lost", "unknown"].filter(count);
  const said = bad.length ? bad.map((state) => [state, `${number(count(state))} ${STATES[state].name}`]) : [["landed", "nothing missing"]];
  return said.map(([state, words]) => make("span", { class: "count" }, swatch(state), words));
}

function cell(partition) {
  const label = `${longDate(partition.partition)}: ${STATES[partition.state].name}`;
  const made = make("td", { "data-state": partition.state, tabindex: "-1", "aria-label": label });
  shownBy.set(made, partition);
  return made;
}

function weeks({ partitions }, dates, labelledby) {
  if (!partitions.length) return make("p", { class: "muted" }, "No dates.");
  const first = dateOf(partitions[0].partition);
  const monday = first.getTime() - ((first.getUTCDay() + 6) % 7) * DAY_MS;
  const place = ({ partition }) => Math.round((dateOf(partition) - monday) / DAY_MS);
  const columns = Math.floor(place(partitions.at(-1)) / 7) + 1;
  const cells = new Array(columns * 7);
  partitions.forEach((partition, index) => { cells[place(partition)] = dates[index]; });
  const body = WEEKDAYS.map((name, weekday) => {
    const line = make("tr", {}, make("th", { scope: "row" }, make("span", { class: weekday % 2 ? "sr" : "" }, name)));
    for (let week = 0; week < columns; week += 1) line.append(cells[week * 7 + weekday] ?? make("td", { class: "none" }));
    return line;
  });
  return make(
    "table",
    { role: "grid", "aria-labelledby": labelledby, "aria-readonly": "true" },
    make("thead", { "aria-hidden": "true" }, monthNames(monday, columns)),
    make("tbody", {}, ...body),
  );
}

/** A month's name over the week of its first day; a name without room for it is left out. */
function monthNames(monday, columns) {
  const line = make("tr", {}, make("td", { class: "corner" }));
  let width = 0;
  let name = "";
  const close = () => width && line.append(make("th", { colspan: String(width) }, width > 2 ? name : ""));
  for (let week = 0; week < columns; week += 1) {
    const next = MONTHS[new Date(monday + (week * 7 + 6) * DAY_MS).getUTCMonth()];
    if (next !== name) {
      close();
      [name, width] = [next, 0];
    }
    width += 1;
  }
  close();
  return line;
}

function months({ partitions }, cells, labelledby) {
  const names = partitions.map(({ partition }) => {
    const date = dateOf(partition);
    return make("th", {}, `${MONTHS[date.getUTCMonth()]} ${String(date.getUTCFullYear()).slice(2)}`);
  });
  return make(
    "table",
    { role: "grid", class: "months", "aria-labelledby": labelledby, "aria-readonly": "true" },
    make("thead", { "aria-hidden": "true" }, make("tr", {}, ...names)),
    make("tbody", {}, make("tr", {}, ...cells)),
  );
}

/** One cell of a grid can be reached by Tab; the arrow keys move from there. */
function listen(grid, cells, row, detail) {
  if (!cells.length) return;
  let current = cells.find((one) => isOpen(shownBy.get(one))) ?? cells.at(-1);
  const show = (one) => detail.replaceChildren(...(one ? describe(shownBy.get(one), row) : []));
  const select = (one) => {
    current.tabIndex = -1;
    current.removeAttribute("aria-selected");
    current = one;
    current.tabIndex = 0;
    current.setAttribute("aria-selected", "true");
    show(one);
  };
  let chosen = null;
  current.tabIndex = 0;
  grid.addEventListener("focusin", (event) => select((chosen = event.target.closest("td[data-state]") ?? current)));
  grid.addEventListener("mouseover", (event) => {
    const one = event.target.closest("td[data-state]");
    if (one) show(one);
  });
  grid.addEventListener("mouseleave", () => show(chosen));
  grid.addEventListener("keydown", (event) => {
    const step = stepOf(event, row.grain === "month" ? 1 : 7);
    if (step === null || event.altKey) return;
    event.preventDefault();
    cells[Math.min(cells.length - 1, Math.max(0, cells.indexOf(current) + step))].focus();
  });
}

/** How many dates a key moves; in a calendar of weeks, left and right move by a week. */
function stepOf({ key, ctrlKey, metaKey }, week) {
  const far = ctrlKey || metaKey;
  const steps = {
    ArrowLeft: -week, ArrowRight: week, ArrowUp: -1, ArrowDown: 1, PageUp: -4 * week, PageDown: 4 * week,
    Home: far || week === 1 ? -Infinity : -52 * week, End: far || week === 1 ? Infinity : 52 * week,
  };
  return steps[key] ?? null;
}

function describe(partition, row) {
  const { state, files, landed } = partition;
  const days = daysLeft(partition);
  const amount = files ? `${landed} of ${some(files, "file")} landed, ${bytes(partition.bytes)}` : STATES[state].means;
  const until = days === null ? "" : `, deleted by Cisco ${within(days)} (${shortDate(partition.expires_on)})`;
  const line = make("p", {}, swatch(state), make("strong", {}, shortDate(partition.partition)), ` ${STATES[state].name}: ${amount}${until}.`);
  return isOpen(partition) ? [line, disclosure(partition, row)] : [line];
}

function disclosure(partition, row) {
  const details = make("details", { class: "how" }, make("summary", {}, "How to land it"));
  details.append(fixFor({ ...partition, report: row.report }));
  return details;
}

/** The same as text; made when somebody asks for it. */
function table(row) {
  const place = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${titleOf(row)}, as a table`, hidden: true });
  const button = make("button", { type: "button", class: "as-table", "aria-expanded": "false", "aria-label": `As a table: ${titleOf(row)}` }, "As a table");
  button.addEventListener("click", () => {
    if (!place.children.length) place.append(asText(row));
    place.hidden = !place.hidden;
    button.setAttribute("aria-expanded", String(!place.hidden));
  });
  const landed = row.partitions.reduce((sum, partition) => sum + partition.landed_bytes, 0);
  return [make("p", { class: "foot" }, make("span", { class: "muted" }, `${bytes(landed)} landed`), button), place];
}

function asText(row) {
  const names = ["Created", "State", "Files landed", "Bytes landed", "Deleted by Cisco"];
  const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
  const lines = [...row.partitions].reverse().map((partition) => {
    const { state, landed, files, landed_bytes: size, expires_on: expires } = partition;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, shortDate(partition.partition)),
      make("td", {}, swatch(state), STATES[state].name),
      make("td", {}, `${number(landed)} of ${number(files)}`),
      make("td", {}, bytes(size)),
      make("td", {}, expires ? shortDate(expires) : ""),
    );
  });
  return make("table", {}, head, make("tbody", {}, ...lines));
}
