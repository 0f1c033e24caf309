// Fetches the stored snapshot and shows it: one sentence, the gaps, the calendars.
import { calendar } from "./calendar.js";
import { command, dagLink, learnDags, leaveFrame } from "./fixes.js";
import { showGaps } from "./gaps.js";
import { age, bytes, daysLeft, isOpen, make, missing, number, some, STATES, swatch, within } from "./words.js";

const STALE_HOURS = 36;
const RECONCILE = "cca_reconcile";
const WHEN = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

const byId = (id) => document.getElementById(id);

async function load() {
  const answer = await fetch("data.json").catch(() => null);
  const body = await answer?.json().catch(() => null);
  if (!answer || (answer.ok && !body)) say("bad", "Airflow could not be reached.", make("p", {}, "Reload this page to try again."));
  else if (answer.ok) show(body);
  else refuse(answer.status, body?.detail);
  // After two frames what was shown is on the screen; measured by whoever wants to know.
  requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("painted")));
}

function refuse(status, detail) {
  if (status === 401) {
    say("bad", "You are not logged in.", make("p", {}, make("a", { href: "../../", "data-leave": true }, "Log in to Airflow"), " first."));
  } else if (status === 403) {
    say("bad", `You may not read the DAG ${RECONCILE}, so this page shows you nothing.`);
  } else if (status === 404) {
    say("waiting", "There is nothing to show yet.", make("p", {}, detail), land("Run it:"));
  } else {
    say("bad", "The coverage cannot be shown.", make("p", {}, detail ?? `Airflow answered ${status}.`));
  }
}

function show(snapshot) {
  const moment = WHEN.format(new Date(snapshot.written_at));
  byId("about").textContent = `last reconciled ${moment} UTC · ${snapshot.destination} · last ${snapshot.retention_days} days`;
  headline(snapshot);
  showGaps(snapshot, byId("gaps"), byId("lost"));
  byId("legend").replaceChildren(make("li", { class: "muted" }, "Squares:"), ...Object.entries(STATES).map(([state, { name, means }]) =>
    make("li", { title: means }, swatch(state), name, make("b", {}, number(snapshot.counts[state])))));
  byId("calendars").replaceChildren(...snapshot.rows.map(calendar));
  byId("year").hidden = false;
}

function headline(snapshot) {
  const open = snapshot.gaps.filter(isOpen);
  const lost = lostFiles(snapshot);
  const rest = [stale(snapshot), make("p", {}, besides(snapshot, lost))];
  if (!open.length) {
    nothingOpen(lost, squares(snapshot), rest);
    return;
  }
  const files = open.reduce((sum, gap) => sum + missing(gap), 0);
  const first = Math.min(...open.map((gap) => daysLeft(gap) ?? Infinity));
  const least = snapshot.gaps_total > snapshot.gaps.length ? "At least " : "";
  const deadline = Number.isFinite(first) ? `; Cisco deletes the first ${within(first)}` : "";
  say("bad", `${least}${some(files, "file")} ${are(files)} missing${deadline}.`, ...rest, land("Land them all:"));
}

/** All is well only where somebody has looked. */
function nothingOpen(lost, { all, known, unchecked }, rest) {
  const gone = lost ? `${some(lost, "file")} ${are(lost)} lost` : "";
  if (known && !unchecked) return say(lost ? "lost" : "good", lost ? `${gone}; nothing else is missing.` : "Nothing is missing.", ...rest);
  let doubt = `${number(unchecked)} of ${some(all, "date")} could not be checked; nothing ${lost ? "else " : ""}is missing in the others`;
  if (!known) doubt = all ? "None of the dates could be checked" : "Nothing has been looked at yet";
  return say(lost ? "lost" : "unsure", `${[gone, doubt].filter(Boolean).join("; ")}.`, ...rest, land("Look again:"));
}

/** How many there are, and of how many nothing is known, though they are older than yesterday. */
function squares({ rows, today }) {
  const yesterday = new Date(Date.parse(today) - 86_400_000).toISOString();
  const partitions = rows.flatMap((row) => row.partitions);
  const unknown = partitions.filter(({ state }) => state === "unknown");
  const unchecked = unknown.filter(({ partition }) => partition < yesterday.slice(0, partition.length));
  return { all: partitions.length, known: partitions.length - unknown.length, unchecked: unchecked.length };
}

const are = (count) => (count === 1 ? "is" : "are");

const lostFiles = ({ gaps }) => gaps.reduce((sum, gap) => sum + gap.lost, 0);

function besides({ rows, counts }, lost) {
  const partitions = rows.flatMap((row) => row.partitions);
  const sum = (key) => partitions.reduce((total, partition) => total + partition[key], 0);
  const parts = [`${number(sum("landed"))} of ${some(sum("files"), "file")} have landed (${bytes(sum("landed_bytes"))})`];
  if (lost) parts.push(`${some(lost, "file")} ${are(lost)} lost for good`);
  if (counts.unknown) parts.push(`${some(counts.unknown, "square")} below could not be checked`);
  return `${parts.join("; ")}.`;
}

function stale({ written_at: moment }) {
  if (Date.now() - Date.parse(moment) < STALE_HOURS * 3_600_000) return null;
  return make("p", { class: "stale" }, `This is ${age(moment)} old: ${RECONCILE} has not run since.`);
}

function land(words) {
  return make("p", { class: "land" }, words, " ", dagLink(RECONCILE), " or ", command(`airflow dags trigger ${RECONCILE}`));
}

function say(mood, sentence, ...rest) {
  byId("headline").dataset.mood = mood;
  byId("headline").replaceChildren(make("p", { class: "say" }, sentence), ...rest.filter(Boolean));
}

addEventListener("click", leaveFrame);
addEventListener("auxclick", leaveFrame);
load().then(() => learnDags().catch(() => {}));
