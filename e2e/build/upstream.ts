/**
 * What upstream's own tests need: e2e.test itself, ginkgo, which runs it in parallel, agnhost, the workload of its
 * pods, and CoreDNS. All from the Go module proxy, static, built once a version.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";
import { CACHE } from "../paths.ts";
import { step } from "../progress.ts";
import { requireGo } from "./go.ts";
import { buildFlags, go, kubernetesVersion, versionFlags, whole } from "./kubernetes.ts";

const MODULE = join(import.meta.dir, "upstream");
/** What kubeadm of this Kubernetes installs. */
export const COREDNS = "v1.12.1";

export const CERTIFICATES = ["localhost.crt", "localhost.key"] as const;

export interface Upstream {
  readonly e2eTest: string;
  readonly ginkgo: string;
  readonly agnhost: string;
  /** The certificate and the key that agnhost serves TLS with, localhost.crt and localhost.key, in one directory. */
  readonly certificates: string;
  readonly coredns: string;
}

/** Builds what is not there yet. e2e.test takes some minutes. */
export async function buildUpstream(): Promise<Upstream> {
  const tests = await buildTests();
  return {
    e2eTest: join(tests, "e2e.test"),
    ginkgo: join(tests, "ginkgo"),
    agnhost: join(tests, "agnhost"),
    certificates: tests,
    coredns: join(await buildCoreDNS(), "coredns"),
  };
}

async function buildTests(): Promise<string> {
  const version = kubernetesVersion();
  const sums = createHash("sha256").update(readFileSync(join(MODULE, "go.sum")));
  const directory = join(CACHE, `upstream-${version}-${sums.digest("hex").slice(0, 8)}`);
  if (existsSync(directory)) return directory;
  await requireGo();
  const flags = buildFlags(versionFlags(version));
  await step(`building the tests of Kubernetes ${version}`, () =>
    whole(directory, async (unfinished) => {
      const programs = ["github.com/onsi/ginkgo/v2/ginkgo", "k8s.io/kubernetes/test/images/agnhost"];
      await go(MODULE, ["build", ...flags, "-o", `${unfinished}/`, ...programs]);
      const test = ["-vet=off", "-o", join(unfinished, "e2e.test"), "k8s.io/kubernetes/test/e2e"];
      await go(MODULE, ["test", "-c", ...flags, ...test]);
      const kubernetes = await run(["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"], {
        cwd: MODULE,
      });
      for (const file of CERTIFICATES)
        copyFileSync(join(kubernetes.trim(), "test/images/agnhost/porter", file), join(unfinished, file));
    }),
  );
  return directory;
}

/** A module of its own, at the versions that its own go.mod and go.sum name. */
async function buildCoreDNS(): Promise<string> {
  const directory = join(CACHE, `coredns-${COREDNS}`);
  if (existsSync(directory)) return directory;
  await requireGo();
  await step(`building CoreDNS ${COREDNS}`, () =>
    whole(directory, (unfinished) =>
      go(MODULE, ["install", ...buildFlags(), `github.com/coredns/coredns@${COREDNS}`], {
        GOBIN: unfinished,
      }),
    ),
  );
  return directory;
}
