/** What ginkgo reports of a run, and how it is shown. */
import { WeftError } from "@weft/base";

export type Verdict = "passed" | "failed" | "skipped";

export interface Spec {
  /** Without "[sig-network]" and "[Conformance]", which all have. */
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** Of a spec that did not pass: its first line. */
  readonly reason?: string;
}

/** The parts that are read of ginkgo's JSON report: one entry a suite. */
interface SuiteReport {
  readonly SpecReports: readonly {
    readonly ContainerHierarchyTexts: readonly string[] | null;
    readonly LeafNodeType: string;
    readonly LeafNodeText: string;
    readonly State: string;
    /** Nanoseconds. */
    readonly RunTime: number;
    readonly Failure?: { readonly Message: string };
  }[];
}

/**
 * The specs of a report that were chosen, by name. What was not chosen is in there as skipped, without a reason; what
 * surrounds specs (setting up, tearing down) is a row of its own only if it failed. Throws "invalid".
 */
export function specsOf(json: string): Spec[] {
  let suites: readonly SuiteReport[];
  try {
    suites = JSON.parse(json) as readonly SuiteReport[];
  } catch (cause) {
    throw new WeftError("invalid", "ginkgo's report is no JSON", { cause });
  }
  return suites
    .flatMap((suite) => suite.SpecReports)
    .flatMap((r): Spec[] => {
      const verdict = verdictOf(r.State);
      const reason = r.Failure?.Message.trim().split("\n", 1)[0];
      const isSpec = r.LeafNodeType === "It";
      if (isSpec ? verdict === "skipped" && !reason : verdict !== "failed") return [];
      const words = isSpec ? [...(r.ContainerHierarchyTexts ?? []), r.LeafNodeText] : [`(${r.LeafNodeType})`];
      const name = words
        .join(" ")
        .replaceAll(/ ?\[(sig-network|Conformance)\] ?/g, " ")
        .trim();
      return [{ name, verdict, seconds: r.RunTime / 1e9, ...(verdict !== "passed" && reason && { reason }) }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Ginkgo knows more ways to fail: panicked, interrupted, aborted, timedout. */
const verdictOf = (state: string): Verdict =>
  state === "passed" ? "passed" : state === "skipped" || state === "pending" ? "skipped" : "failed";

/** One line a spec; reasons stand below those that did not pass. */
export function renderSpecs(specs: readonly Spec[], columns = Number.POSITIVE_INFINITY): string {
  const fit = (line: string): string => (line.length <= columns ? line : `${line.slice(0, columns - 1)}…`);
  return [
    "verdict  seconds  spec",
    ...specs.flatMap(({ name, verdict, seconds, reason }) => [
      `${verdict.padEnd(7)}  ${seconds.toFixed(1).padStart(7)}  ${name}`,
      ...(reason === undefined ? [] : [`                  ${reason}`]),
    ]),
  ]
    .map(fit)
    .join("\n");
}

/** "45 passed, 0 failed", with ", N skipped" behind it if any were. */
export function summaryOf(specs: readonly Spec[]): string {
  const count = (verdict: Verdict): number => specs.filter((s) => s.verdict === verdict).length;
  const skipped = count("skipped") > 0 ? `, ${count("skipped")} skipped` : "";
  return `${count("passed")} passed, ${count("failed")} failed${skipped}`;
}
