// How things are said, and how elements are made: text only ever becomes text, never markup.

export const STATES = {
  landed: { name: "landed", means: "every file is in the store" },
  partly: { name: "partly", means: "some of the files are in the store" },
  missing: { name: "missing", means: "Cisco has files, none is in the store" },
  lost: { name: "lost", means: "Cisco deleted it before it was landed" },
  empty: { name: "nothing to land", means: "Cisco has no files of that date" },
  unknown: { name: "not known", means: "Cisco's server could not be asked, or is still processing" },
};

/** How many files have not landed, and can. */
export const missing = ({ files, landed, lost }) => Math.max(0, files - landed - lost);

export const isOpen = (partition) => missing(partition) > 0;

const REPORTS = {
  cdr: { title: "Call detail records by site", dag: "cca_cdr_by_site" },
  cdr_compressed: { title: "Call detail records, compressed", dag: "cca_cdr_compressed" },
  peak_port_daily: { title: "Peak ports, daily", dag: "cca_peak_port_daily" },
  peak_port_monthly: { title: "Peak ports, monthly", dag: "cca_peak_port_monthly" },
  site_list: { title: "Site list", dag: "cca_site_list" },
};

const DAY_MS = 86_400_000;
const NUMBER = new Intl.NumberFormat("en-GB");
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const LONG_DATE = new Intl.DateTimeFormat("en-GB", {
  weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC",
});
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });

export const reportOf = (name) => REPORTS[name] ?? { title: name, dag: null };

export const titleOf = ({ report, level }) => reportOf(report).title + (level ? `, ${level} level` : "");

export const number = (value) => NUMBER.format(value);

export const some = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const step = count < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** step;
  return `${value.toFixed(step && value < 10 ? 1 : 0)} ${count === 1 ? "byte" : units[step]}`;
}

/** A partition is a date or a month; a month counts as its first day. */
export const dateOf = (partition) => new Date(`${partition.length === 7 ? `${partition}-01` : partition}T00:00:00Z`);

export const shortDate = (partition) =>
  partition.length === 7 ? MONTH.format(dateOf(partition)) : DATE.format(dateOf(partition));

export const longDate = (partition) =>
  partition.length === 7 ? MONTH.format(dateOf(partition)) : LONG_DATE.format(dateOf(partition));

/** Whole days from today, not from the day of the snapshot; null when there is nothing to be had. */
export function daysLeft(partition, now = Date.now()) {
  if (!partition.expires_on || !isOpen(partition)) return null;
  return Math.max(0, Math.round((dateOf(partition.expires_on) - Math.floor(now / DAY_MS) * DAY_MS) / DAY_MS));
}

export const within = (days) => (days === 0 ? "today" : `in ${some(days, "day")}`);

export function age(moment, now = Date.now()) {
  const hours = Math.max(0, Math.floor((now - Date.parse(moment)) / 3_600_000));
  return hours < 48 ? some(hours, "hour") : some(Math.floor(hours / 24), "day");
}

/** An element with attributes, properties that start with a dot, and children: elements or texts. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith(".")) element[name.slice(1)] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The sample of a state's look; its name stands beside it. */
export const swatch = (state) => make("span", { class: "swatch", "data-state": state, "aria-hidden": "true" });
