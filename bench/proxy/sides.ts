/** The proxies that are compared: Weft's agent for services only, and kube-proxy in both of its modes. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { WeftError } from "@weft/base";
import type { Session, Started } from "../session/session.ts";
import { NODE, POD_RANGE } from "./objects.ts";
import type { Place } from "./place.ts";

export type Side = "weft" | "nftables" | "iptables";
export const SIDES: readonly Side[] = ["weft", "nftables", "iptables"];

/** The table that a transaction for a changed endpoint is in. */
export const TABLE: Readonly<Record<Side, string>> = {
  weft: "weft-services",
  nftables: "kube-proxy",
  iptables: "nat",
};

export function startProxy(session: Session, proxy: Side, label: string, place: Place): Started {
  const root = join(session.directory, label);
  mkdirSync(join(root, "etc/weft"), { recursive: true });
  if (proxy === "weft") {
    const settings = { clusterCIDRs: [POD_RANGE], services: { enabled: true } };
    writeFileSync(join(root, "etc/weft/settings.yaml"), JSON.stringify(settings));
    const words = ["agent", "--only", "services", "--node", NODE, "--root", root];
    return session.start(place.node, label, [session.weft, ...words, "--kubeconfig", place.kubeconfig]);
  }
  const config = join(root, "config.yaml");
  writeFileSync(config, JSON.stringify(configuration(proxy, place)));
  return session.start(place.node, label, [kubeProxy(), "--config", config]);
}

const configuration = (mode: string, place: Place): object => ({
  apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
  kind: "KubeProxyConfiguration",
  mode,
  hostnameOverride: NODE,
  clusterCIDR: POD_RANGE,
  clientConnection: { kubeconfig: place.kubeconfig },
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
  oomScoreAdj: 0,
});

/** kube-proxy as e2e builds it from the Go module proxy. Throws "not-found". */
export function kubeProxy(): string {
  const cache = resolve(import.meta.dir, "../../e2e/.cache");
  const built = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("kubernetes-")) : [];
  const found = built.map((name) => join(cache, name, "kube-proxy")).find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new WeftError("not-found", "kube-proxy is not built", {
    object: cache,
    hint: "Let e2e build it once, which needs Go: ./e2e/run --list does not; ./e2e/run weft-services does.",
  });
}

export function kubeProxyVersion(): string {
  const run = Bun.spawnSync([kubeProxy(), "--version"], { stdout: "pipe", stderr: "ignore" });
  return (
    run.stdout
      .toString()
      .trim()
      .replace(/^Kubernetes /, "") || "unknown"
  );
}
