/** Results of all pairs in one table. */
import type { CheckFailure, EndpointSummary, Matrix, MatrixCell, ProbeKind } from "./types.ts";

/** Above this many endpoints the matrix is that of their nodes. */
export const MATRIX_LIMIT = 20;

/** How a failed probe shows in a cell, behind the digit of its family. */
export const MARKS: Readonly<Record<ProbeKind, string>> = { tcp: "t", udp: "u", mtu: "m", "mtu+1": "+" };

interface Tally {
  tested: number;
  readonly failedPairs: Set<string>;
  readonly marks: Set<string>;
}

/** `pairs` are the tested ones, as indexes of `endpoints`. */
export function buildMatrix(
  endpoints: readonly EndpointSummary[],
  pairs: readonly (readonly [number, number])[],
  failures: readonly CheckFailure[],
): Matrix {
  const by = endpoints.length > MATRIX_LIMIT ? "node" : "endpoint";
  const groupOf = (e: EndpointSummary): string => (by === "node" ? e.node : e.name);
  const names = [...new Set(endpoints.map(groupOf))];
  const position = new Map(names.map((name, i) => [name, i]));
  const positionOf = new Map(endpoints.map((e) => [e.name, position.get(groupOf(e))!]));
  const table = names.map(() =>
    names.map((): Tally => ({ tested: 0, failedPairs: new Set(), marks: new Set() })),
  );
  const at = (from: string, to: string): Tally => table[positionOf.get(from)!]![positionOf.get(to)!]!;
  for (const [a, b] of pairs) at(endpoints[a]!.name, endpoints[b]!.name).tested++;
  for (const failure of failures) {
    const tally = at(failure.from, failure.to);
    tally.failedPairs.add(`${failure.from}\0${failure.to}`);
    tally.marks.add(`${failure.family}${MARKS[failure.probe]}`);
  }
  return { by, names, cells: table.map((row) => row.map(cell)) };
}

function cell({ tested, failedPairs, marks }: Tally): MatrixCell {
  const ofFamily = ["4", "6"].map((family) => {
    const letters = Object.values(MARKS).filter((letter) => marks.has(family + letter));
    return letters.length === 0 ? "" : family + letters.join("");
  });
  return { tested, failed: failedPairs.size, marks: ofFamily.filter((text) => text !== "").join(" ") };
}
