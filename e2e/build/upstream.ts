/**
 * What upstream's own tests need: e2e.test itself, ginkgo, which runs it in parallel, agnhost, the workload of its
 * pods, and CoreDNS. All from the Go module proxy, static, built once a version.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE } from "../paths.ts";
import { step } from "../progress.ts";
import { requireGo } from "./go.ts";
import { buildFlags, go, kubernetesVersion, versionFlags, whole } from "./kubernetes.ts";

const MODULE = join(import.meta.dir, "upstream");
/** What kubeadm of this Kubernetes installs. */
export const COREDNS = "v1.12.1";

export interface Upstream {
  readonly e2eTest: string;
  readonly ginkgo: string;
  readonly agnhost: string;
  readonly coredns: string;
}

/** Builds what is not there yet. e2e.test takes some minutes. */
export async function buildUpstream(): Promise<Upstream> {
  const tests = await buildTests();
  return {
    e2eTest: join(tests, "e2e.test"),
    ginkgo: join(tests, "ginkgo"),
    agnhost: join(tests, "agnhost"),
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
