/**
 * Runs e2e.test on a cluster: by ginkgo, in the control plane's machine, from where nodes and the API server are
 * reached as an administrator does. Only the network's conformance specs; `focus` and `skip` narrow them down.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import type { Cluster } from "../cluster.ts";
import { say } from "../progress.ts";
import { type Spec, specsOf } from "./report.ts";

const LABELS = "sig-network && Conformance";
const OUTPUT = "/var/conformance";
const FILES = { json: "report.json", junit: "junit.xml" } as const;
const EVERY_MS = 30_000;
/** Ginkgo ends by itself before: this is for when it hangs. */
const SLACK_MINUTES = 3;

export interface SpecOptions {
  /** Regular expressions over a spec's full name. */
  readonly focus: string;
  readonly skip: string;
  /** Specs at a time. */
  readonly procs: number;
  readonly minutes: number;
}

/** Gives the specs with their verdicts; puts ginkgo's reports and its output into `results`. */
export async function runSpecs(cluster: Cluster, options: SpecOptions, results: string): Promise<Spec[]> {
  const { controlPlane } = cluster;
  rmSync(results, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });
  const command = [...ginkgo(options), "--", "--kubeconfig=/etc/kubernetes/admin.conf", "--provider=local"];
  const growing = controlPlane.path(`${OUTPUT}/ginkgo.log`);
  const progress = setInterval(() => say(`${finished(growing)} specs have ended`), EVERY_MS);
  try {
    const timeout = (options.minutes + SLACK_MINUTES) * 60_000;
    // Through a shell: its output is large and worth having while it runs.
    const inside = `mkdir -p ${OUTPUT}; exec "$@" > ${OUTPUT}/ginkgo.log 2>&1`;
    await controlPlane.attempt(["sh", "-c", inside, "sh", ...command], { timeout });
  } finally {
    clearInterval(progress);
    const written = controlPlane.path(OUTPUT);
    if (existsSync(written)) cpSync(written, results, { recursive: true });
  }
  const report = join(results, FILES.json);
  if (!existsSync(report)) {
    const log = join(results, "ginkgo.log");
    const said = existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n").slice(-12).join("\n") : "";
    throw new WeftError("internal", `ginkgo wrote no report: ${said}`);
  }
  return specsOf(readFileSync(report, "utf8"));
}

const ginkgo = ({ focus, skip, procs, minutes }: SpecOptions): string[] => [
  ...["ginkgo", `--procs=${procs}`, `--timeout=${minutes}m`, "--no-color", `--label-filter=${LABELS}`],
  ...(focus === "" ? [] : [`--focus=${focus}`]),
  ...(skip === "" ? [] : [`--skip=${skip}`]),
  ...[`--json-report=${FILES.json}`, `--junit-report=${FILES.junit}`, `--output-dir=${OUTPUT}`],
  "/usr/local/bin/e2e.test",
];

/** Ginkgo marks the end of each spec that ran with a bullet, among an S for each that was not chosen. */
const finished = (log: string): number =>
  existsSync(log) ? (readFileSync(log, "utf8").match(/•/g)?.length ?? 0) : 0;
