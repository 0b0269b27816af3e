/** Pools and blocks through the proxy of faults: whatever is injected, what this node wrote counts, and at last what is there. */
import { afterEach, expect, test } from "bun:test";
import { makePrefix } from "@weft/base";
import { type IpBlock, type Loan, POOLS_API_VERSION } from "@weft/model";
import { registerDefinitions } from "../definitions/index.ts";
import { TestApi } from "../server/testing/api.ts";
import { createClient } from "./http.ts";
import { createPoolsApi, decodeBlock } from "./pools.ts";
import { watchPools } from "./pools-source.ts";
import { isOlder, type KubernetesObject } from "./resource.ts";
import { dice } from "./testing/dice.ts";
import { anonymous, createFaultProxy, type Fault, until } from "./testing/index.ts";

const BLOCKS = "/apis/weft.network/v1alpha1/ipblocks";
const SIGNAL = new AbortController().signal;
const FAULTS: Partial<Record<Fault, number>> = {
  duplicate: 0.1,
  repeat: 0.1,
  hold: 0.2,
  cut: 0.05,
  end: 0.05,
  gone: 0.02,
  expire: 0.1,
  fail: 0.1,
};
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const loan = (id: string, node: string, address: string): Loan => ({
  id,
  node,
  wanted: undefined,
  address: address as Loan["address"],
  refused: undefined,
  returned: false,
  tunnel: false,
  pod: undefined,
});

async function world(seed: number) {
  const api = await TestApi.start({ now: Date.now });
  stops.push(() => api.remove());
  await registerDefinitions((request) => api.server.handle(request));
  const proxy = await createFaultProxy({
    target: { handle: (r) => api.server.handle(r) },
    seed,
    faults: FAULTS,
  });
  stops.push(() => proxy.stop());
  const client = createClient({
    credentials: proxy.credentials,
    backoff: { first: 1, cap: 10 },
    rateLimit: { qps: 1e6, burst: 1e6 },
  });
  const direct = createClient({
    credentials: anonymous("http://server"),
    rateLimit: { qps: 1e6, burst: 1e6 },
    fetch: (url, init) => api.server.handle(new Request(url, { ...(init as RequestInit), signal: null })),
  });
  stops.push(() => client.close());
  const watch = watchPools({
    client,
    node: "me",
    onChange() {},
    gather: 1,
    every: 50,
    backoff: { first: 1, cap: 20 },
  });
  stops.push(() => watch.stop());
  return { api, proxy, watch, blocks: createPoolsApi(direct) };
}

test.each([1, 2, 3])(
  "seed %d",
  async (seed) => {
    const { api, proxy, watch, blocks } = await world(seed);
    await watch.answered;
    const roll = dice(seed, "writer");
    let mine: IpBlock | undefined;
    const tell = (block: IpBlock, isMe: boolean): void => {
      if (!isMe) return;
      mine = block;
      watch.written(block);
    };
    for (let i = 0; i < 120; i++) {
      const prefix = makePrefix(`10.8.0.${Math.floor(roll() * 6) * 64}`.replace(/256|320/, "192"), 26);
      const name = `${prefix.replaceAll(".", "-").replace("/", "-")}`;
      const held = await blocks.block(name, SIGNAL);
      const isMe = roll() < 0.5;
      const node = isMe ? "me" : "n2";
      if (held === undefined) {
        const made = { prefix, pool: "p", poolUid: "u", node, tunnelAddress: undefined, loans: [] };
        tell(await blocks.create(made, SIGNAL), isMe);
      } else if (roll() < 0.3) {
        // Who removes a block has just read it, and tells so.
        if (isMe) watch.written(held);
        await blocks.remove(held, SIGNAL);
        if (isMe) {
          watch.removed(held.name, held.uid);
          expect(watch.blocks.get(held.name)?.uid).not.toBe(held.uid);
          mine = undefined;
        }
      } else {
        const address = prefix.replace(/\d+\/26/, (last) => String(Number.parseInt(last, 10) + 7));
        const loans = held.loans.length > 0 ? [] : [loan(`l${i}`, isMe ? "n2" : "me", address)];
        tell(await blocks.replace({ ...held, node, loans }, SIGNAL), isMe);
      }
      if (mine !== undefined && isMe) {
        const now = watch.blocks.get(mine.name);
        if (now !== undefined) expect(isOlder(now.version, mine.resourceVersion)).toBe(false);
      }
      if (roll() < 0.3) await Bun.sleep(Math.floor(roll() * 15));
    }
    proxy.set({});
    const wanted = async (): Promise<string> => {
      const { body } = await api.get(BLOCKS);
      const items = body["items"] as readonly KubernetesObject[];
      return items
        .map((object) => decodeBlock({ ...object, apiVersion: POOLS_API_VERSION, kind: "IPBlock" }, false))
        .map((b) => `${b.prefix} ${b.node} ${b.resourceVersion}`)
        .sort()
        .join("\n");
    };
    const there = await wanted();
    const known = (): string =>
      [...watch.blocks.values()]
        .map((b) => `${b.prefix} ${b.node} ${b.version}`)
        .sort()
        .join("\n");
    await until(() => known() === there, "equality");
    expect(proxy.injected.length).toBeGreaterThan(10);
  },
  120_000,
);
