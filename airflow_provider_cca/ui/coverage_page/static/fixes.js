// How a gap is closed: the DAG that lands it, and the commands that run it for this date.
import { make, reportOf, shortDate } from "./words.js";

const CONFIRM_MS = 2000;

/** DAG id -> whether it is paused, of the DAGs that Airflow shows this user; null until that is known. */
let dags = null;

export async function learnDags() {
  const answer = await fetch("../../api/v2/dags?tags=cca&limit=100", { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { dags: listed } = await answer.json();
  dags = new Map(listed.map((dag) => [dag.dag_id, dag.is_paused]));
}

/** Links leave the frame by an anchor of the page around it: the frame's sandbox lets none of ours do so. */
export function leaveFrame(event) {
  const link = event.target.closest("a[data-leave]");
  if (!link || window.parent === window || event.button > 1) return;
  event.preventDefault();
  const outside = window.parent.document;
  const anchor = outside.createElement("a");
  anchor.href = link.href;
  if (event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey) anchor.target = "_blank";
  outside.body.append(anchor);
  anchor.click();
  anchor.remove();
}

export function dagLink(dag) {
  return make("a", { href: `../../dags/${dag}`, "data-leave": true, class: "link" }, `Open ${dag}`);
}

export function command(text) {
  const button = make("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", () => copy(text, button));
  return make("span", { class: "command" }, make("code", { tabindex: "0" }, text), button);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no clipboard for pages: select it, so that Ctrl-C takes it.
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "Press Ctrl-C";
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, CONFIRM_MS);
}

/** What to do about a gap. */
export function fixFor(gap) {
  const { dag } = reportOf(gap.report);
  if (dags && !dags.has(dag)) {
    return make("p", {}, `This Airflow shows you no DAG ${dag}: copy it from the package's folder dags/.`);
  }
  return make("div", { class: "fix" }, untilWhen(gap), inTheUi(dag, gap.partition), onTheCommandLine(dag, gap.partition));
}

function untilWhen({ expires_on: expires }) {
  return expires ? make("p", {}, `Cisco deletes it on ${shortDate(expires)}.`) : null;
}

function inTheUi(dag, partition) {
  const paused = dags?.get(dag) ? "It is paused: switch it on first. " : "";
  const how = `Trigger, Backfill, ${shortDate(partition)}, All Runs. ${paused}`;
  return make("p", {}, "In the UI: ", dagLink(dag), `, then ${how}`);
}

function onTheCommandLine(dag, partition) {
  const [from, to] = [firstDay(partition), lastDay(partition)];
  return make(
    "p",
    {},
    "Or on the command line, in one run, or as a backfill: ",
    command(`airflow dags trigger ${dag} --conf '${JSON.stringify({ partition: from })}'`),
    command(
      `airflow backfill create --dag-id ${dag} --from-date ${from} --to-date ${to}T23:59 ` +
        "--reprocess-behavior completed",
    ),
  );
}

const firstDay = (partition) => (partition.length === 7 ? `${partition}-01` : partition);

function lastDay(partition) {
  if (partition.length > 7) return partition;
  const [year, month] = partition.split("-").map(Number);
  return new Date(Date.UTC(year, month, 0)).toISOString().slice(0, 10);
}
