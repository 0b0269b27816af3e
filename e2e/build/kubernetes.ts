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
  await step(`building Kubernetes ${version}`, async () => {
    const [, major, minor] = /^v([0-9]+)\.([0-9]+)/.exec(version) as RegExpExecArray;
    const variables = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: "archive" };
    const flags = Object.entries(variables).map(([k, v]) => `-X k8s.io/component-base/version.${k}=${v}`);
    await build(
      directory,
      flags,
      PROGRAMS.map((name) => `k8s.io/kubernetes/cmd/${name}`),
    );
  });
  return directory;
}

/** The workload of the test pods, a static executable; rebuilt when its source has changed. */
export async function buildWorkload(): Promise<string> {
  const source = readFileSync(join(HERE, "netexec/main.go"));
  const directory = join(CACHE, `netexec-${createHash("sha256").update(source).digest("hex").slice(0, 8)}`);
  if (!existsSync(directory)) {
    await requireGo();
    await step("building the workload", () => build(directory, [], ["./netexec"]));
  }
  return join(directory, "netexec");
}

/** Into a directory that appears only when all of it is there. */
async function build(
  directory: string,
  flags: readonly string[],
  packages: readonly string[],
): Promise<void> {
  const unfinished = `${directory}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const ldflags = ["-s", "-w", ...flags].join(" ");
  await run(
    ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", `${unfinished}/`, ...packages],
    {
      cwd: HERE,
      env: { CGO_ENABLED: "0" },
      timeout: COLD_MS,
    },
  );
  renameSync(unfinished, directory);
}
