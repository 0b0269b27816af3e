/** Services by Weft alone: the cluster has no kube-proxy. */
import assert from "node:assert/strict";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { weftStatus } from "../networks/weft.ts";
import { standing } from "./common.ts";
import { HTTP, inPod, type PodObject } from "./pods.ts";
import type { Case } from "./suite.ts";

/** Every node serves as many frontends as the cluster has, and none waits. */
async function served(cluster: Cluster): Promise<void> {
  for (const node of cluster.nodes) {
    await until(`${node.name} serves`, 30, async () => {
      const { services } = await weftStatus(node);
      assert.notEqual(services.state, "off", services.why ?? "");
      return services.state === "active" && services.plan.every((t) => t.rows === t.done) ? true : undefined;
    });
  }
}

export const apiService: Case = {
  name: "the API server answers at its cluster address, from pods and from nodes",
  async run(cluster) {
    await served(cluster);
    const [asker] = await standing(cluster);
    const [api] = cluster.ranges.apiServices;
    const url = `http://${urlHost(api as string)}:443/`;
    // The control plane's machine is no node, and knows no way to a pod: only a translated source gets an answer.
    const known = await cluster.network.masquerades(cluster.nodes[0] as Node);
    if (known)
      await inPod(
        cluster,
        asker?.metadata.name as string,
        `netexec get ${url} 2>&1 | grep 'HTTP request to an HTTPS server'`,
      );
    for (const { machine } of cluster.nodes) {
      const { stdout } = await machine.attempt(["curl", "-sS", "--max-time", "3", url]);
      assert.match(stdout, /HTTP request to an HTTPS server/);
    }
  },
};

interface ServiceObject {
  readonly spec: { readonly clusterIP: string; readonly ports: readonly { readonly nodePort: number }[] };
}

export const policies: Case = {
  name: "traffic policies, session affinity, and a service without endpoints",
  async run(cluster) {
    const pods = await standing(cluster);
    const backend = pods[0] as PodObject;
    const name = backend.metadata.name;
    await cluster.kubectl(["label", "--overwrite", "pod", name, "role=alone"]);
    const base = { apiVersion: "v1", kind: "Service" };
    const ports = [{ port: 80, targetPort: HTTP }];
    await cluster.apply(
      {
        ...base,
        metadata: { name: "inside" },
        spec: { selector: { role: "alone" }, internalTrafficPolicy: "Local", ports },
      },
      {
        ...base,
        metadata: { name: "outside" },
        spec: { type: "NodePort", selector: { role: "alone" }, externalTrafficPolicy: "Local", ports },
      },
      { ...base, metadata: { name: "nobody" }, spec: { selector: { role: "nobody" }, ports } },
      {
        ...base,
        metadata: { name: "sticky" },
        spec: { selector: { role: "sticky" }, sessionAffinity: "ClientIP", ports },
      },
    );
    const own = pods.filter((p) => p.metadata.name.startsWith("b-")).map((p) => p.metadata.name);
    if (own.length > 1) await cluster.kubectl(["label", "--overwrite", "pod", ...own, "role=sticky"]);
    const get = (service: string) => cluster.get<ServiceObject>("service", service);
    const here = pods.find((p) => p.spec.nodeName === backend.spec.nodeName && p !== backend) as PodObject;
    const there = pods.find((p) => p.spec.nodeName !== backend.spec.nodeName) as PodObject;
    const ask = (from: PodObject, host: string): Promise<string> =>
      inPod(
        cluster,
        from.metadata.name,
        `timeout 3 netexec get http://${urlHost(host)}:80/hostname 2>&1; true`,
      );

    const inside = (await get("inside")).spec.clusterIP;
    await until("its own node answers", 20, async () =>
      (await ask(here, inside)) === name ? true : undefined,
    );
    assert.notEqual(await ask(there, inside), name, "another node has no endpoint of its own");

    const nobody = (await get("nobody")).spec.clusterIP;
    await until("it is refused", 20, async () =>
      /refused/.test(await ask(here, nobody)) ? true : undefined,
    );

    const { nodePort } = (await get("outside")).spec.ports[0] as { nodePort: number };
    for (const node of cluster.nodes) {
      const address = node.addresses[0] as string;
      const url = `http://${urlHost(address)}:${nodePort}/hostname`;
      const { stdout } = await cluster.outside(["curl", "-sS", "--max-time", "2", url]);
      assert.equal(stdout, node.name === backend.spec.nodeName ? name : "", url);
    }

    const sticky = (await get("sticky")).spec.clusterIP;
    const heard = new Set<string>();
    await until("the sticky one answers", 20, async () =>
      own.includes(await ask(here, sticky)) ? true : undefined,
    );
    for (let i = 0; i < 8; i++) heard.add(await ask(here, sticky));
    assert.equal(heard.size, 1, "a client keeps its endpoint");
    await cluster.kubectl(["delete", "service", "inside", "outside", "nobody", "sticky"]);
  },
};

export const losersAreTold: Case = {
  name: "of two services with one external address the older has it, and an event tells the other",
  async run(cluster) {
    const service = (name: string): object => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name },
      spec: {
        selector: { role: "alone" },
        externalIPs: ["198.51.100.77"],
        ports: [{ port: 80, targetPort: HTTP }],
      },
    });
    await cluster.apply(service("older"));
    await Bun.sleep(1100);
    await cluster.apply(service("aaa-younger"));
    await until("the event is there", 30, async () => {
      const said = await cluster.kubectl(["get", "events", "--field-selector", "reason=AddressTaken"]);
      return /service\/aaa-younger .*198\.51\.100\.77 belongs to Service default\/older, which is older/.test(
        said,
      )
        ? true
        : undefined;
    });
    const shown = await cluster.nodes[0]?.machine.exec([
      "/opt/cni/bin/weft",
      "service",
      "show",
      "aaa-younger",
    ]);
    assert.match(shown ?? "", /! port 80\/tcp of 198\.51\.100\.77 belongs to Service default\/older/);
    await cluster.kubectl(["delete", "service", "older", "aaa-younger"]);
  },
};
