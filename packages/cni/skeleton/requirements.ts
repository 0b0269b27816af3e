/**
 * What each command of the protocol requires (specification section 2, "CNI operations"): the one place that says
 * which environment must be set, which version brought the command, and what is on standard input.
 */
import type { CniVersion } from "../types/version.ts";

export type Command = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

export type Variable =
  | "CNI_CONTAINERID"
  | "CNI_NETNS"
  | "CNI_IFNAME"
  | "CNI_ARGS"
  | "CNI_PATH"
  | "CNI_NETNS_OVERRIDE";

export interface Requirement {
  /** First version of the specification with this command. */
  readonly since: CniVersion;
  readonly variables: readonly Variable[];
  /** A configuration, or for VERSION only an object with cniVersion. */
  readonly stdin: "configuration" | "version";
  readonly previousResult: "required" | "optional" | "none";
}

export const REQUIREMENTS: Readonly<Record<Command, Requirement>> = {
  ADD: {
    since: "0.1.0",
    variables: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
    stdin: "configuration",
    previousResult: "optional",
  },
  DEL: {
    since: "0.1.0",
    variables: ["CNI_CONTAINERID", "CNI_IFNAME"],
    stdin: "configuration",
    previousResult: "optional",
  },
  CHECK: {
    since: "0.4.0",
    variables: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
    stdin: "configuration",
    previousResult: "required",
  },
  GC: { since: "1.1.0", variables: ["CNI_PATH"], stdin: "configuration", previousResult: "none" },
  STATUS: { since: "1.1.0", variables: [], stdin: "configuration", previousResult: "none" },
  VERSION: { since: "0.2.0", variables: [], stdin: "version", previousResult: "none" },
};

export const isCommand = (text: string): text is Command => Object.hasOwn(REQUIREMENTS, text);
