/** `weft check --json` as a reader of it sees it: the fields that these tests look at. */

export interface Report {
  readonly ok: boolean;
  readonly endpoints: readonly Endpoint[];
  readonly pairs: { readonly tested: number; readonly total: number; readonly sampled: boolean };
  readonly failures: readonly Failure[];
  readonly barePackets: readonly { readonly name: string; readonly packets: number }[];
  readonly drift: readonly DriftRow[];
  readonly foreignChains: readonly { readonly node: string; readonly table: string }[];
  readonly setupErrors: readonly { readonly subject: string; readonly message: string }[];
}

export interface Endpoint {
  readonly name: string;
  readonly kind: "node" | "pod" | "host-pod";
  readonly node: string;
  readonly addresses: readonly string[];
}

export interface Failure {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly probe: string;
  readonly message: string;
}

export interface DriftRow {
  readonly node: string;
  readonly kind: string;
  readonly key: string;
  readonly difference: string;
  readonly origin?: {
    readonly kind: string;
    readonly namespace?: string;
    readonly name: string;
    readonly field?: string;
  };
}

/** "node1 route 10.0.0.0/24 table 254: missing (Node node2)": a row as these tests compare it, without a metric. */
export function driftText({ node, kind, key, difference, origin }: DriftRow): string {
  const by = origin === undefined ? "nobody" : `${origin.kind} ${origin.name}`;
  return `${node} ${kind} ${key.replace(/ metric \d+$/, "")}: ${difference} (${by})`;
}

/** "a -> b IPv4 tcp" for each failure, sorted. */
export const failureTexts = ({ failures }: Report): string[] =>
  failures.map((f) => `${f.from} -> ${f.to} IPv${f.family} ${f.probe}`).sort();
