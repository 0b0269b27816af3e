/**
 * Kubernetes' programs and the workload, built from the Go module proxy. go.mod in this folder says which version;
 * go.sum holds what the proxy serves to what was first seen. Built once a version.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import { run } from "../command.ts";
import { CACHE } from "../paths.ts";
import { step } from "../progress.ts";
import { requireGo } from "./go.ts";

const HERE = import.meta.dir;
const PROGRAMS = [
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "kubectl",
];
const COLD_MS = 30 * 60_000;

/** "v1.34.4", as go.mod requires it. */
export function kubernetesVersion(): string {
  const version = /^require k8s\.io\/kubernetes (v\S+)$/m.exec(
    readFileSync(join(HERE, "go.mod"), "utf8"),
  )?.[1];
  if (version === undefined) throw new WeftError("invalid", "e2e/build/go.mod requires no k8s.io/kubernetes");
  return version;
}

/** The directory with the programs, built when it is not there. */
export async function buildKubernetes(): Promise<string> {
  const version = kubernetesVersion();
  const sums = createHash("sha256")
    .update(readFileSync(join(HERE, "go.sum")))
    .digest("hex")
    .slice(0, 8);
  const directory = join(CACHE, `kubernetes-${version}-${sums}`);
  if (existsSync(directory)) return directory;
  await requireGo();
  await step(`building Kubernetes ${version}`, () =>
    whole(directory, (unfinished) =>
      go(HERE, [
        ...["build", ...buildFlags(versionFlags(version)), "-o", `${unfinished}/`],
        ...PROGRAMS.map((name) => `k8s.io/kubernetes/cmd/${name}`),
      ]),
    ),
  );
  return directory;
}

/** For the linker: what programs built from `version` say of themselves. */
export function versionFlags(version: string): string[] {
  const [, major, minor] = /^v([0-9]+)\.([0-9]+)/.exec(version) as RegExpExecArray;
  const variables = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: "archive" };
  return Object.entries(variables).map(([k, v]) => `-X k8s.io/component-base/version.${k}=${v}`);
}

/** The workload of the test pods, a static executable; rebuilt when its source has changed. */
export async function buildWorkload(): Promise<string> {
  const source = readFileSync(join(HERE, "netexec/main.go"));
  const directory = join(CACHE, `netexec-${createHash("sha256").update(source).digest("hex").slice(0, 8)}`);
  if (!existsSync(directory)) {
    await requireGo();
    await step("building the workload", () =>
      whole(directory, (unfinished) =>
        go(HERE, ["build", ...buildFlags(), "-o", `${unfinished}/`, "./netexec"]),
      ),
    );
  }
  return join(directory, "netexec");
}

/** Of `go build` and its like: small programs that tell nothing of where they were built. */
export const buildFlags = (linker: readonly string[] = []): string[] => [
  ...["-trimpath", "-buildvcs=false", "-ldflags", ["-s", "-w", ...linker].join(" ")],
];

/** A directory that appears only when all of it is there. */
export async function whole(
  directory: string,
  make: (unfinished: string) => Promise<unknown>,
): Promise<void> {
  const unfinished = `${directory}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await make(unfinished);
  renameSync(unfinished, directory);
}

/** Runs go in a module's folder; what it builds is static. */
export async function go(
  module: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  await run(["go", ...words], { cwd: module, env: { CGO_ENABLED: "0", ...env }, timeout: COLD_MS });
}
