/** Metrics of a whole agent: what is in them, that they keep Prometheus's rules, and where they are to be had. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { inNetns } from "@weft/kernel/netns";
import { ADDRESSES, TestNode } from "../testing/node.ts";
import { eventually } from "../testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
});
afterAll(() => node.close());

interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: Map<string, number>;
}

/** Strict: anything that is not of the text format throws. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  let family: Family | undefined;
  let name = "";
  expect(text.endsWith("\n")).toBe(true);
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (comment?.[1] === "HELP") {
      name = comment[2] as string;
      if (families.has(name)) throw new Error(`${name} comes twice`);
      continue;
    }
    if (comment?.[1] === "TYPE") {
      if (comment[2] !== name) throw new Error(`TYPE without HELP: ${line}`);
      family = { type: comment[3] as string, help: line, samples: new Map() };
      families.set(name, family);
      continue;
    }
    const label = String.raw`[a-z_]+="(?:[^"\\]|\\["\\n])*"`;
    const sample = new RegExp(`^([a-z_]+)(\\{${label}(?:,${label})*\\})? (\\S+)$`).exec(line);
    if (sample === null || family === undefined) throw new Error(`no sample: ${line}`);
    const [, sampleName = "", labels = "", value = ""] = sample;
    const suffixes = family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!suffixes.some((s) => sampleName === name + s)) throw new Error(`${line} is not of ${name}`);
    if (family.samples.has(sampleName + labels)) throw new Error(`${line} comes twice`);
    const number = value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value);
    if (Number.isNaN(number)) throw new Error(`no number: ${line}`);
    family.samples.set(sampleName + labels, number);
  }
  return families;
}

/** What `promtool check metrics` finds fault with. */
function lint(families: Map<string, Family>): string[] {
  return [...families].flatMap(([name, { type }]) => [
    ...(!name.startsWith("weft_") ? [`${name}: no prefix`] : []),
    ...((type === "counter") === name.endsWith("_total") ? [] : [`${name}: _total is for counters`]),
    ...(/_(milli|micro|nano)seconds|_minutes|_kilobytes/.test(name) ? [`${name}: no base unit`] : []),
    ...(/gauge|counter|histogram/.test(name) ? [`${name}: the type is no part of a name`] : []),
    ...(type !== "histogram" && /_(bucket|count|sum)$/.test(name) ? [`${name}: of histograms`] : []),
  ]);
}

const read = async (): Promise<Map<string, Family>> => {
  const { status, text } = await node.request("GET", "/metrics");
  expect(status).toBe(200);
  return parse(text);
};

describe("metrics", () => {
  test("keep the rules, and count what runtimes ask and what is in use", async () => {
    const pod = await node.add();
    expect((await node.call("ADD", pod)).exit).not.toBe(0);
    await node.del(pod);
    await node.add();
    const families = await read();
    expect(lint(families)).toEqual([]);
    const value = (name: string, sample: string): number | undefined =>
      families.get(name)?.samples.get(sample);
    expect(value("weft_agent_ready", "weft_agent_ready")).toBe(1);
    expect(value("weft_ipam_attachments", "weft_ipam_attachments")).toBe(1);
    const block = '{block="10.240.1.0/24",pool=""}';
    expect(value("weft_ipam_block_used", `weft_ipam_block_used${block}`)).toBe(1);
    expect(value("weft_ipam_block_addresses", `weft_ipam_block_addresses${block}`)).toBe(254);
    const requests = "weft_cni_requests_total";
    expect(value(requests, `${requests}{command="ADD",result="success"}`)).toBe(2);
    expect(value(requests, `${requests}{command="ADD",result="error"}`)).toBe(1);
    expect(value(requests, `${requests}{command="DEL",result="success"}`)).toBe(1);
    const duration = "weft_cni_request_duration_seconds";
    expect(value(duration, `${duration}_count{command="ADD"}`)).toBe(3);
    expect(value(duration, `${duration}_bucket{command="ADD",le="+Inf"}`)).toBe(3);
  });

  test("nobody listens on an address unless settings say so; then on those, and on no other any more", async () => {
    const sockets = (): string => node.node.sh("ss -Hltn");
    const get = async (host: string): Promise<string> => {
      const response = await inNetns(node.node.self.fd, () =>
        node.node.try(
          "curl",
          "-s",
          "-m",
          "20",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          `http://${host}:10247/metrics`,
        ),
      );
      return response.out;
    };
    expect(sockets()).not.toContain(":10247");
    node.writeSettings("metrics: { listen: loopback }\n");
    await eventually("loopback", () => (sockets().match(/(127\.0\.0\.1|\[::1\]):10247/g) ?? []).length === 2);
    expect(await get("127.0.0.1")).toBe("200");
    expect(await get("[::1]")).toBe("200");
    expect(sockets()).not.toContain(ADDRESSES[0]);
    node.writeSettings("metrics: { listen: node }\n");
    await eventually(
      "the node's addresses",
      () => ADDRESSES.every((a) => sockets().includes(`${a.includes(":") ? `[${a}]` : a}:10247`)),
      60_000,
      () => `${sockets()}\n${node.log()}`,
    );
    expect(sockets()).not.toContain("127.0.0.1:10247");
    expect((await node.status()).metrics?.listening.length).toBe(2);
    node.writeSettings("metrics: { listen: all }\n");
    await eventually(
      "all",
      () => /(0\.0\.0\.0|\*):10247/.test(sockets()) && sockets().includes("[::]:10247"),
    );
    node.writeSettings("");
    await eventually("nobody", () => !sockets().includes(":10247"));
  });

  test("a port that somebody has is told in status, and taken once it is free", async () => {
    const other = inNetns(node.node.self.fd, () =>
      Bun.listen({ hostname: "127.0.0.1", port: 10247, socket: { data() {} } }),
    );
    node.writeSettings("metrics: { listen: loopback }\n");
    const fault = await eventually("it is told", async () => (await node.status()).metrics?.errors[0]);
    expect(fault).toContain("127.0.0.1:10247: ");
    other.stop(true);
    await eventually("it is taken", async () => (await node.status()).metrics?.errors.length === 0);
    node.writeSettings("");
  });
});
