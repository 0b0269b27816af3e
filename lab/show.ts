/** A lab's status as text. Pure. */
import { drawTopology, formatAge, formatTable } from "./draw.ts";
import { type LabStatus, notReady, type PodStatus } from "./status.ts";
import { planTopology } from "./topology.ts";

export function podTable(pods: readonly PodStatus[], now: number): string {
  return formatTable(
    ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "NODE", "IP"],
    pods.map((pod) => [
      pod.namespace,
      pod.name,
      `${pod.ready ? pod.containers.length : pod.containers.filter((c) => c.state === "running").length}/${pod.containers.length}`,
      pod.phase,
      String(pod.restarts),
      formatAge(now - pod.since),
      pod.node ?? "-",
      pod.podIPs.join(",") || "-",
    ]),
  );
}

export function nodeTable(status: LabStatus, now: number): string {
  return formatTable(
    ["NODE", "AGENT", "PID", "RESTARTS", "AGE", "ADDRESSES"],
    status.nodes.map((node) => [
      node.name,
      node.ready ? "Ready" : "NotReady",
      node.pid === undefined ? "-" : String(node.pid),
      String(node.restarts),
      formatAge(now - node.since),
      node.addresses.join(","),
    ]),
  );
}

/** What `up` says of a lab, whatever is not ready in it: drawing, pods, what of the manifests has no effect, and what to try. */
export function ending(status: LabStatus, now: number): string {
  const plan = planTopology(status.options);
  return [
    drawTopology(plan, status.pods),
    "",
    podTable(status.pods, now),
    ...noted(status.sourceWarnings),
    "",
    ...tryThese(status),
    "",
  ].join("\n");
}

/** What `status` prints. */
export function statusText(status: LabStatus, now: number): string {
  const { name, options, supervisor } = status;
  return [
    `lab "${name}": ${options.nodes} nodes in ${options.racks} racks, pods ${options.pods}, underlay ${options.underlay}, ` +
      `backend ${options.backend}${options.hostile.length > 0 ? `, hostile ${options.hostile.join(",")}` : ""}`,
    `supervised by process ${supervisor.pid} for ${formatAge(now - supervisor.startedAt)}`,
    `kubectl: export KUBECONFIG=${status.api.kubeconfig}`,
    "",
    nodeTable(status, now),
    "",
    podTable(status.pods, now),
    ...noted([...notReady(status), ...status.sourceWarnings]),
    "",
  ].join("\n");
}

const noted = (lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ["", ...lines.map((line) => `! ${line}`)];

function tryThese(status: LabStatus): string[] {
  const option = status.name === "lab" ? "" : ` --name ${status.name}`;
  const pods = status.pods.filter((p) => p.ready && !p.hostNetwork);
  const from = pods[0];
  const to = pods.find((p) => p.node !== from?.node) ?? pods[1];
  const exec =
    from === undefined || to === undefined
      ? `weft lab exec${option} node1 -- ip route`
      : `weft lab exec${option} ${from.namespace}/${from.name} -- ping -c 2 ${to.podIPs[0]}`;
  const check = status.name === "lab" ? "" : ` --lab ${status.name}`;
  return [
    "try:",
    `  ${exec}`,
    `  weft check${check}`,
    `  weft lab down${option}`,
    "with kubectl:",
    `  export KUBECONFIG=${status.api.kubeconfig}`,
    "  kubectl get pods -A -o wide",
  ];
}
