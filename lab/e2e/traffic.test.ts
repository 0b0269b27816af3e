/** Traffic that must not notice: agents that are killed, and a fabric whose MTU shrinks. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { PodStatus } from "../status.ts";
import { Lab } from "./harness/lab.ts";
import type { Outcome } from "./harness/stream.ts";
import { ok, run, start, until, useWeft, WEFT } from "./harness/weft.ts";

useWeft();
const STREAM = join(import.meta.dir, "harness/stream.ts");
const PORT = 5999;

/** Starts a stream from one pod to an address of another; the result resolves when it has ended. */
async function startStream(lab: Lab, from: PodStatus, to: PodStatus, address: string, ms: number) {
  const inPod = (pod: PodStatus, ...words: string[]): string[] => [
    ...[WEFT, "lab", "exec", "--name", lab.name, `${pod.namespace}/${pod.name}`, "--"],
    ...[process.execPath, STREAM, ...words],
  ];
  const receiver = start(inPod(to, "receive", address, String(PORT)));
  const { value } = await receiver.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("listening\n");
  const sender = run(inPod(from, "send", address, String(PORT), String(ms)));
  return {
    async outcome(): Promise<Outcome> {
      const outcome = JSON.parse(ok(await sender, "the sender")) as Outcome;
      await receiver.exited;
      return outcome;
    },
  };
}

function expectWhole({ sent, received, error }: Outcome): void {
  expect(error).toBeUndefined();
  expect(sent).toBeGreaterThan(1 << 20);
  expect(received).toBe(sent);
}

test("agents are killed, and no connection breaks and no packet is lost", async () => {
  const lab = new Lab();
  await lab.upOk();
  const [from, to] = [await lab.podOn("node1"), await lab.podOn("node3")];
  const before = await lab.condition();
  const pings = to.podIPs.map((ip) => lab.sh(from.name, `ping -q -i 0.01 -c 400 ${ip}`));
  const stream = await startStream(lab, from, to, to.podIPs[0]!, 4000);
  await Bun.sleep(500);
  for (const { pid } of before.nodes) process.kill(pid!, "SIGKILL");
  const outcome = await stream.outcome();
  expectWhole(outcome);
  console.log(`measured: longest stall of a TCP stream while agents were killed: ${outcome.longestStall} ms`);
  for (const said of await Promise.all(pings)) {
    expect(said).toContain("400 packets transmitted, 400 received, 0% packet loss");
  }
  const after = await until("agents are back", 60_000, async () => {
    const condition = await lab.condition();
    return condition.nodes.every((n) => n.ready) && condition;
  });
  expect(after.nodes.map((n) => n.restarts)).toEqual([1, 1, 1]);
  expect(after.pods.map((p) => p.restarts)).toEqual(before.pods.map(() => 0));
  const { code, report } = await lab.check();
  expect(code).toBe(0);
  expect(report.drift).toEqual([]);
  // A restart changes nothing in the kernel.
  for (const { plan } of await lab.agents()) {
    expect(plan.map((t) => [t.kind, t.repaired, t.pruned])).toEqual(plan.map((t) => [t.kind, 0, 0]));
  }
}, 120_000);

/**
 * The receiver is behind the link that shrinks. An IPv4 underlay fragments what the tunnel sends; an IPv6 one says
 * "packet too big" to the tunnel's end, which has to pass it on to the pod.
 */
describe("a link of the spine shrinks under a transfer", () => {
  for (const underlay of ["ipv4", "ipv6"]) {
    test(`underlay ${underlay}`, async () => {
      const lab = new Lab("--underlay", underlay);
      await lab.upOk();
      const [from, to] = [await lab.podOn("node1"), await lab.podOn("node3")];
      for (const address of to.podIPs) {
        const stream = await startStream(lab, from, to, address, 2500);
        await Bun.sleep(1000);
        await lab.sh("spine", "ip link set rack2 mtu 1400");
        const outcome = await stream.outcome();
        expectWhole(outcome);
        console.log(
          `measured: longest stall of a TCP stream to ${address}, underlay ${underlay}, MTU lowered: ${outcome.longestStall} ms`,
        );
        await lab.sh("spine", "ip link set rack2 mtu 1500");
        for (const node of ["node1", "node3"])
          await lab.sh(node, "ip route flush cache; ip -6 route flush cache");
      }
    }, 120_000);
  }
});
