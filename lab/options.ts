/** What a lab is asked to be, with defaults and checks that name the option. */
import { type Family, WeftError } from "@weft/base";
import type { BackendName } from "@weft/model";

export const FAMILY_CHOICES = ["ipv4", "ipv6", "dual"] as const;
export type FamilyChoice = (typeof FAMILY_CHOICES)[number];
export const BACKENDS = ["auto", "direct", "vxlan"] as const satisfies readonly BackendName[];
export const HOSTILITIES = ["forward-drop"] as const;
/** Extra trouble for the nodes. "forward-drop": a foreign nftables chain that drops all forwarded packets. */
export type Hostility = (typeof HOSTILITIES)[number];

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  readonly racks: number;
  /** Families of pod addresses. */
  readonly pods: FamilyChoice;
  /** Families of the network between the nodes. */
  readonly underlay: FamilyChoice;
  readonly backend: BackendName;
  readonly hostile: readonly Hostility[];
  /** Directory of manifests to watch; undefined: the samples. */
  readonly manifests: string | undefined;
}

export const DEFAULT_OPTIONS: LabOptions = {
  name: "lab",
  nodes: 3,
  racks: 2,
  pods: "dual",
  underlay: "dual",
  backend: "auto",
  hostile: [],
  manifests: undefined,
};

export const MAX_NODES = 200;

/** Families that a choice stands for, IPv4 first. */
export const familiesOf = (choice: FamilyChoice): readonly Family[] =>
  choice === "dual" ? [4, 6] : choice === "ipv4" ? [4] : [6];

/**
 * Fills in defaults and checks. Without a number of racks, a lab of one node has one rack. Every fault is
 * listed, not only the first. Throws "invalid".
 */
export function parseLabOptions(input: Partial<Record<keyof LabOptions, unknown>> = {}): LabOptions {
  const faults: string[] = [];
  const d = DEFAULT_OPTIONS;
  const name = labName(input.name ?? d.name, faults);
  const nodes = wholeNumber(input.nodes ?? d.nodes, "nodes", 1, MAX_NODES, faults);
  const racks = wholeNumber(input.racks ?? Math.min(d.racks, nodes), "racks", 1, nodes, faults);
  const pods = oneOf(input.pods ?? d.pods, "pods", FAMILY_CHOICES, faults);
  const underlay = oneOf(input.underlay ?? d.underlay, "underlay", FAMILY_CHOICES, faults);
  const backend = oneOf(input.backend ?? d.backend, "backend", BACKENDS, faults);
  const asked = input.hostile ?? d.hostile;
  const list: readonly unknown[] = Array.isArray(asked) ? asked : [asked];
  const hostile = [...new Set(list.map((h) => oneOf(h, "hostile", HOSTILITIES, faults)))];
  const manifests = input.manifests;
  if (manifests !== undefined && (typeof manifests !== "string" || manifests === "")) {
    faults.push("manifests: must be the path of a directory");
  }
  if (faults.length > 0) {
    throw new WeftError("invalid", `lab options: ${faults.join("; ")}`, {
      object: `lab ${name}`,
      hint: "Correct the options named; weft lab up --help lists them.",
    });
  }
  return {
    name,
    nodes,
    racks,
    pods,
    underlay,
    backend,
    hostile,
    manifests: manifests as string | undefined,
  };
}

/** Checks the name of a lab alone, for the commands that take nothing else. Throws "invalid". */
export function parseLabName(value: unknown): string {
  const faults: string[] = [];
  const name = labName(value, faults);
  if (faults.length > 0) {
    throw new WeftError("invalid", faults.join("; "), { hint: 'Use a name such as "lab".' });
  }
  return name;
}

/** The options that differ, as "nodes is 3, not 5"; empty when both ask for the same lab. */
export function optionDifferences(have: LabOptions, want: LabOptions): string[] {
  return (Object.keys(DEFAULT_OPTIONS) as (keyof LabOptions)[])
    .filter((key) => text(have[key]) !== text(want[key]))
    .map((key) => `${key} is ${text(have[key])}, not ${text(want[key])}`);
}

const text = (value: LabOptions[keyof LabOptions]): string =>
  Array.isArray(value) ? value.join(",") || "none" : String(value ?? "the samples");

function labName(value: unknown, faults: string[]): string {
  const name = String(value);
  if (!/^[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?$/.test(name)) {
    faults.push(
      `name: "${name.slice(0, 32)}" must be 1 to 12 lower-case letters, digits and dashes (an RFC 1123 label)`,
    );
  } else if (name === "e2e" || name.startsWith("e2e-")) {
    faults.push(`name: "${name}" is the prefix of the real-Kubernetes suite's namespaces`);
  } else if (/-pod(-|$)/.test(name)) {
    // weft-a-pod-x-node1 would be pod "node1" of lab "a" as well as node 1 of lab "a-pod-x".
    faults.push(`name: "${name}" must not have "-pod" in it: pods' namespaces are named so`);
  }
  return name;
}

function wholeNumber(value: unknown, field: string, least: number, most: number, faults: string[]): number {
  const number = typeof value === "string" && /^[0-9]{1,9}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= least && number <= most)
    return number;
  const why = field === "racks" ? " (the number of nodes)" : "";
  faults.push(`${field}: "${String(value)}" must be a whole number from ${least} to ${most}${why}`);
  return least;
}

function oneOf<T extends string>(value: unknown, field: string, allowed: readonly T[], faults: string[]): T {
  if (allowed.includes(value as T)) return value as T;
  faults.push(`${field}: "${String(value)}" must be one of ${allowed.join(", ")}`);
  return allowed[0] as T;
}
