import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { contains, hostPrefix } from "@weft/base";
import { TestApi } from "../testing/api.ts";
import { type ApiObject, at, items, type Mapping, mapping } from "../values.ts";

const SERVICES = "/api/v1/namespaces/default/services";
const service = (name: string, spec: Mapping = {}): Mapping => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { ports: [{ port: 80 }], selector: { app: "x" }, ...spec },
});

let api: TestApi;
const start = async (
  ranges: readonly string[],
  nodePorts: readonly [number, number] = [30000, 30004],
): Promise<void> => {
  api = await TestApi.start({ services: { ranges, nodePorts } });
};
beforeEach(() => start(["10.96.0.0/24", "fd00:96::/112"]));
afterEach(() => api.remove());

const make = async (name: string, spec?: Mapping): Promise<ApiObject> =>
  (await api.post(SERVICES, service(name, spec))).body;
const addresses = (object: ApiObject): readonly string[] =>
  items(at(object, "spec", "clusterIPs")) as string[];
const messages = (object: ApiObject): string => String(object["message"]);

describe("addresses", () => {
  test("are of the families that the policy says", async () => {
    expect(mapping((await make("one"))["spec"])).toMatchObject({
      type: "ClusterIP",
      ipFamilyPolicy: "SingleStack",
      ipFamilies: ["IPv4"],
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
      ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
    });
    const both = await make("both", { ipFamilyPolicy: "PreferDualStack" });
    expect(at(both, "spec", "ipFamilies")).toEqual(["IPv4", "IPv6"]);
    expect(addresses(both).map((a) => a.includes(":"))).toEqual([false, true]);
    expect(at(both, "spec", "clusterIP")).toBe(addresses(both)[0]);
    const six = await make("six", { ipFamilies: ["IPv6"] });
    expect(addresses(six).map((a) => contains("fd00:96::/112", hostPrefix(a)))).toEqual([true]);
    const turned = await make("turned", { ipFamilies: ["IPv6", "IPv4"], ipFamilyPolicy: "RequireDualStack" });
    expect(addresses(turned).map((a) => a.includes(":"))).toEqual([true, false]);
    const named = await make("named", { clusterIP: "fd00:96::7" });
    expect(at(named, "spec", "ipFamilies")).toEqual(["IPv6"]);
  });

  test("a second one comes and goes with the policy", async () => {
    const first = await make("s");
    const two = await api.patch(`${SERVICES}/s`, "merge", { spec: { ipFamilyPolicy: "PreferDualStack" } });
    expect(addresses(two.body)).toHaveLength(2);
    expect(addresses(two.body)[0]).toBe(addresses(first)[0] as string);
    const one = await api.patch(`${SERVICES}/s`, "merge", { spec: { ipFamilyPolicy: "SingleStack" } });
    expect(addresses(one.body)).toEqual(addresses(first));
    // What was given back can be had again.
    expect(addresses(await make("t", { clusterIP: addresses(two.body)[1] }))).toEqual([
      addresses(two.body)[1] as string,
    ]);
  });

  test("none for headless and external ones", async () => {
    const headless = await make("headless", { clusterIP: "None" });
    expect(addresses(headless)).toEqual(["None"]);
    const free = await make("free", { clusterIP: "None", selector: null });
    expect(at(free, "spec", "ipFamilies")).toEqual(["IPv4", "IPv6"]);
    const external = await make("external", { type: "ExternalName", externalName: "example.com", ports: [] });
    expect(at(external, "spec", "clusterIP")).toBeUndefined();
    const back = await api.patch(`${SERVICES}/external`, "merge", {
      spec: { type: "ClusterIP", externalName: null, ports: [{ port: 1 }] },
    });
    expect(addresses(back.body)).toHaveLength(1);
  });

  test("are each given once, are free again after a deletion, and run out with a clear word", async () => {
    await api.remove();
    await start(["10.96.0.0/28"]);
    const all = await Promise.all(Array.from({ length: 13 }, (_, i) => make(`s${i}`)));
    const given = all.flatMap(addresses);
    expect(new Set(given).size).toBe(13);
    // Neither the network's, nor that of the API, nor the broadcast address.
    for (const kept of ["10.96.0.0", "10.96.0.1", "10.96.0.15"]) expect(given).not.toContain(kept);
    expect(messages(await make("more"))).toContain("no address of 10.96.0.0/28 is free");
    await api.delete(`${SERVICES}/s3`);
    expect(addresses(await make("again"))).toEqual([addresses(all[3] as ApiObject)[0] as string]);
    await api.stop();
    await api.start();
    expect(messages(await make("more"))).toContain("is free");
  });

  test("a name can be had again at once after its namespace is gone", async () => {
    await api.post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "n" } });
    const path = "/api/v1/namespaces/n/services";
    await api.post(path, service("s", { clusterIP: "10.96.0.9" }));
    expect(messages(await make("t", { clusterIP: "10.96.0.9" }))).toContain("already allocated");
    await api.delete("/api/v1/namespaces/n");
    await api.server.settled();
    expect(addresses(await make("t", { clusterIP: "10.96.0.9" }))).toEqual(["10.96.0.9"]);
  });

  test.each<[Mapping, string]>([
    [{ clusterIP: "10.97.0.1" }, "is not in the valid range"],
    [{ clusterIP: "nonsense" }, "must be a valid IP address"],
    [{ ipFamilies: ["IPv4", "IPv4"] }, "Duplicate value"],
    [{ ipFamilies: ["IPv5"] }, "not configured on this cluster"],
    [
      { ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4", "IPv6"] },
      "must be RequireDualStack or PreferDualStack",
    ],
    [{ ipFamilyPolicy: "Whatever" }, "Unsupported value"],
    [{ ports: [] }, "spec.ports: Required value"],
    [{ ports: [{ port: 1 }, { port: 2 }] }, "spec.ports[0].name: Required value"],
    [
      {
        ports: [
          { name: "a", port: 1 },
          { name: "b", port: 1 },
        ],
      },
      "Duplicate value",
    ],
    [{ ports: [{ port: 70000 }] }, "must be between 1 and 65535"],
    [{ type: "Wrong" }, "Unsupported value"],
    [{ type: "NodePort", clusterIP: "None" }, "may not be set to 'None' for NodePort services"],
    [{ type: "ExternalName" }, "spec.externalName: Required value"],
    [{ ports: [{ port: 1, nodePort: 30001 }] }, "may not be used when `type` is 'ClusterIP'"],
    [{ type: "NodePort", ports: [{ port: 1, nodePort: 80 }] }, "provided port is not in the valid range"],
  ])("%j is refused", async (spec, message) => {
    const { body, status } = await api.post(SERVICES, service("bad", spec));
    expect([status, messages(body)]).toEqual([422, expect.stringContaining(message)]);
    // Nothing was taken by it.
    expect([...api.server.store.pages("internal/addresses")]).toEqual([]);
    expect([...api.server.store.pages("internal/nodeports")]).toEqual([]);
  });

  test("the first address cannot be changed; two families need two ranges", async () => {
    await make("s");
    const moved = await api.patch(`${SERVICES}/s`, "merge", {
      spec: { clusterIP: "10.96.0.77", clusterIPs: ["10.96.0.77"] },
    });
    expect(messages(moved.body)).toContain("may not change once set");
    await api.remove();
    await start(["fd00:96::/112"]);
    expect(messages(await make("r", { ipFamilyPolicy: "RequireDualStack" }))).toContain(
      "not configured for dual-stack",
    );
    expect(addresses(await make("p", { ipFamilyPolicy: "PreferDualStack" }))).toHaveLength(1);
  });
});

describe("node ports", () => {
  const port = (object: ApiObject): unknown => (items(at(object, "spec", "ports"))[0] as Mapping)["nodePort"];

  test("are each given once for a protocol, stay over updates, and go with the type", async () => {
    const all = await Promise.all(Array.from({ length: 5 }, (_, i) => make(`n${i}`, { type: "NodePort" })));
    expect(all.map(port).sort()).toEqual([30000, 30001, 30002, 30003, 30004]);
    expect(messages(await make("more", { type: "NodePort" }))).toContain("no node port is free");
    const udp = await make("udp", {
      type: "NodePort",
      ports: [{ port: 80, protocol: "UDP", nodePort: 30001 }],
    });
    expect(port(udp)).toBe(30001);
    const replaced = await api.put(
      `${SERVICES}/n0`,
      service("n0", { type: "NodePort", selector: { app: "y" } }),
    );
    expect(port(replaced.body)).toBe(port(all[0] as ApiObject));
    const taken = await api.patch(`${SERVICES}/n1`, "json", [
      { op: "replace", path: "/spec/ports/0/nodePort", value: port(all[0] as ApiObject) },
    ]);
    expect(messages(taken.body)).toContain("provided port is already allocated");
    const plain = await api.patch(`${SERVICES}/n0`, "merge", { spec: { type: "ClusterIP" } });
    expect(port(plain.body)).toBeUndefined();
    expect(port(await make("next", { type: "NodePort" }))).toBe(port(all[0] as ApiObject));
  });
});
