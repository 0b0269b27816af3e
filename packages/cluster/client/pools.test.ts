/** Pools and blocks read, written and refused; the adapter against the embedded server. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { addressAt, type IpAddress, makePrefix, type Prefix, parseIp } from "@weft/base";
import { type Allocation, blockName, type IpBlock, type Loan } from "@weft/model";
import fc from "fast-check";
import { registerDefinitions } from "../definitions/index.ts";
import { ipBlockObject, ipBlockStatus, labelValue } from "../ip-block.ts";
import { TestApi } from "../server/testing/api.ts";
import { createClient } from "./http.ts";
import { createPoolsApi, decodeBlock, decodePool, type PoolsApi } from "./pools.ts";
import type { KubernetesObject } from "./resource.ts";
import { anonymous } from "./testing/index.ts";

const pool = (spec: object, more: object = {}, metadata: object = {}): KubernetesObject => ({
  apiVersion: "weft.network/v1alpha1",
  kind: "IPPool",
  metadata: {
    name: "p",
    uid: "u-p",
    resourceVersion: "5",
    creationTimestamp: "2026-01-02T03:04:05Z",
    ...metadata,
  },
  spec,
  ...more,
});
const READY = { conditions: [{ type: "Ready", status: "True" }] };

describe("a pool", () => {
  test("with nothing but a range", () => {
    expect(decodePool(pool({ cidr: "10.8.0.0/16" }))).toEqual({
      name: "p",
      uid: "u-p",
      cidr: "10.8.0.0/16" as Prefix,
      blockSize: 26,
      nodeSelector: [],
      namespaceSelector: [],
      natOutgoing: undefined,
      disabled: false,
      ready: false,
      created: Date.parse("2026-01-02T03:04:05Z"),
      origin: { kind: "IPPool", name: "p", uid: "u-p" },
    });
    expect(decodePool(pool({ cidr: "fd00:8::/64" })).blockSize).toBe(122);
    // A range that is smaller than a usual block is one block.
    expect(decodePool(pool({ cidr: "10.8.0.0/28" })).blockSize).toBe(28);
  });

  test("with everything", () => {
    const spec = {
      cidr: "fd00:8::/64",
      blockSize: 120,
      nodeSelector: { matchLabels: { zone: "a", "x.io/y": "" } },
      namespaceSelector: {
        matchExpressions: [
          { key: "team", operator: "NotIn", values: ["a", "b"] },
          { key: "old", operator: "DoesNotExist" },
        ],
      },
      natOutgoing: false,
      disabled: true,
    };
    expect(decodePool(pool(spec))).toMatchObject({
      blockSize: 120,
      nodeSelector: [
        { key: "zone", operator: "In", values: ["a"] },
        { key: "x.io/y", operator: "In", values: [""] },
      ],
      namespaceSelector: [
        { key: "team", operator: "NotIn", values: ["a", "b"] },
        { key: "old", operator: "DoesNotExist", values: [] },
      ],
      natOutgoing: false,
      disabled: true,
    });
  });

  test("is ready as accepted, and not when its range was changed since; one being deleted is disabled", () => {
    const accepted = { status: { cidr: "10.8.0.0/16", blockSize: 26, ...READY } };
    expect(decodePool(pool({ cidr: "10.8.0.0/16" }, accepted)).ready).toBe(true);
    const changed = decodePool(pool({ cidr: "10.9.0.0/16" }, accepted));
    expect(changed).toMatchObject({ ready: false, cidr: "10.8.0.0/16" });
    expect(decodePool(pool({ cidr: "10.8.0.0/16", blockSize: 28 }, accepted))).toMatchObject({
      ready: false,
      blockSize: 26,
    });
    // Nobody has accepted anything yet.
    expect(decodePool(pool({ cidr: "10.8.0.0/16" }, { status: READY })).ready).toBe(false);
    const going = pool({ cidr: "10.8.0.0/16" }, accepted, { deletionTimestamp: "2026-01-02T03:04:05Z" });
    expect(decodePool(going).disabled).toBe(true);
  });

  test.each<[object, string]>([
    [{}, "spec.cidr: Required value"],
    [{ cidr: "10.8.0.1/16" }, "has bits set behind its length"],
    [{ cidr: "10.8.0.0/33" }, "a prefix length is 0 to 32"],
    [{ cidr: "127.0.0.0/16" }, "must not touch 127.0.0.0/8"],
    [{ cidr: "fe80::/64" }, "must not touch fe80::/10"],
    [{ cidr: "10.8.0.0/16", blockSize: 19 }, "must be a whole number between 20 and 32"],
    [{ cidr: "10.8.0.0/24", blockSize: 23 }, "must be a whole number between 24 and 32"],
    [{ cidr: "fd00::/64", blockSize: 26 }, "must be a whole number between 116 and 128"],
    [{ cidr: "10.8.0.0/16", nodeSelector: { matchLabels: { "a b": "c" } } }, "nodeSelector.matchLabels[a b]"],
    [
      { cidr: "10.8.0.0/16", nodeSelector: { matchExpressions: [{ key: "a", operator: "In" }] } },
      "values: Required value: must be given with operator In",
    ],
    [
      {
        cidr: "10.8.0.0/16",
        nodeSelector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] },
      },
      "values: Forbidden: may not be given with operator Exists",
    ],
    [{ cidr: "10.8.0.0/16", disabled: "no" }, "spec.disabled: Invalid value"],
  ])("with %j is refused", (spec, wanted) => {
    expect(() => decodePool(pool(spec))).toThrow(wanted);
  });
});

const BLOCK = decodeBlock({
  apiVersion: "weft.network/v1alpha1",
  kind: "IPBlock",
  metadata: { name: "10-8-0-64-26", uid: "u", resourceVersion: "7" },
  spec: { cidr: "10.8.0.64/26", pool: "p", poolUID: "u-p", node: "n1" },
});
const NEW = BLOCK;
const SIGNAL = new AbortController().signal;
const REPORT = { allocations: [], used: 1, free: 61, reported: 1_700_000_000_123 };

describe("a block", () => {
  const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined });
  const name = fc.stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/);
  const prefixes = fc.oneof(
    fc.tuple(fc.integer({ min: 20, max: 32 }), fc.integer({ min: 0, max: 0xffff })).map(([length, n]) => {
      return makePrefix(`10.${n >> 8}.${n & 255}.192`, length);
    }),
    fc.integer({ min: 116, max: 128 }).map((length) => makePrefix("fd00:8::ab40", length)),
  );
  const blocks = prefixes.chain((prefix) => {
    const size = 1 << Math.min(12, (prefix.includes(":") ? 128 : 32) - Number(prefix.split("/")[1]));
    const address = fc.integer({ min: 0, max: size - 1 }).map((i): IpAddress => addressAt(prefix, BigInt(i)));
    const loan: fc.Arbitrary<Loan> = fc.record({
      id: fc.uuid(),
      node: name,
      wanted: maybe(address),
      address: maybe(address),
      refused: maybe(fc.constant("no")),
      returned: fc.boolean(),
      tunnel: fc.boolean(),
      pod: maybe(fc.constant("a/b")),
    });
    const allocation: fc.Arbitrary<Allocation> = fc.record({
      address,
      pod: maybe(fc.constant("a/b")),
      podUid: maybe(fc.uuid()),
      containerId: maybe(fc.constant("c1")),
      node: maybe(name),
      since: fc.integer({ min: 0, max: 2e12 }),
    });
    return fc.record({
      prefix: fc.constant(prefix),
      pool: name,
      poolUid: fc.uuid(),
      node: maybe(name),
      tunnelAddress: maybe(address),
      loans: fc.uniqueArray(loan, { maxLength: 5, selector: (l) => l.address ?? l.id }),
      allocations: fc.array(allocation, { maxLength: 5 }),
    });
  });

  test("comes back as it was written", () => {
    fc.assert(
      fc.property(blocks, (given) => {
        const block: IpBlock = {
          ...BLOCK,
          ...given,
          name: blockName(given.prefix),
          reported: 1000,
          origin: { kind: "IPBlock", name: blockName(given.prefix), uid: BLOCK.uid },
        };
        const status = ipBlockStatus({ allocations: block.allocations, used: 3, free: 1, reported: 1000 });
        const text = JSON.stringify({ ...ipBlockObject(block), status });
        expect(decodeBlock(JSON.parse(text))).toEqual(block);
      }),
    );
  });

  const object = ipBlockObject(BLOCK);
  test.each<[object, string]>([
    [{ cidr: "10.8.0.0/19" }, "its length must be between 20 and 32"],
    [{ cidr: "10.8.0.128/26" }, 'metadata.name: Invalid value: "10-8-0-64-26": must be 10-8-0-128-26'],
    [{ tunnelAddress: "10.8.0.1" }, 'spec.tunnelAddress: Invalid value: "10.8.0.1": must be an address of'],
    [{ loans: [{ id: "1", node: "n2", wanted: "fd00::1" }] }, "spec.loans[0].wanted"],
    [
      {
        loans: [
          { id: "1", node: "n2" },
          { id: "1", node: "n3" },
        ],
      },
      "spec.loans[1].id: Duplicate value",
    ],
    [
      {
        loans: [
          { id: "1", node: "n2", address: "10.8.0.65" },
          { id: "2", node: "n3", address: "10.8.0.65" },
        ],
      },
      "spec.loans[1].address: Duplicate value",
    ],
    [{ pool: undefined }, "spec.pool: Required value"],
  ])("with %j is refused", (spec, wanted) => {
    expect(() => decodeBlock({ ...object, spec: { ...object.spec, ...spec } })).toThrow(wanted);
  });

  test("names longer than a label's value are shortened, and stay different", () => {
    const [a, b] = [`${"n".repeat(70)}a`, `${"n".repeat(70)}b`];
    expect(labelValue("n1")).toBe("n1");
    expect(labelValue(a)).toHaveLength(63);
    expect(labelValue(a)).not.toBe(labelValue(b));
  });
});

describe("by the API", () => {
  let api: TestApi;
  let pools: PoolsApi;
  let answer: (request: Request) => Promise<Response>;
  beforeEach(async () => {
    api = await TestApi.start();
    await registerDefinitions((request) => api.server.handle(request));
    answer = (request) => api.server.handle(request);
    const client = createClient({
      credentials: anonymous("http://server"),
      fetch: (url, init) => answer(new Request(url, init as RequestInit)),
    });
    pools = createPoolsApi(client);
  });
  afterEach(() => api.remove());

  test("a claim is made once; replacing and removing need the newest version", async () => {
    expect(await pools.block(BLOCK.name, SIGNAL)).toBeUndefined();
    expect(await pools.pool("p", SIGNAL)).toBeUndefined();
    const first = await pools.create(NEW, SIGNAL);
    expect(first).toMatchObject({ node: "n1", prefix: "10.8.0.64/26" as Prefix });
    expect(pools.create({ ...NEW, node: "n2" }, SIGNAL)).rejects.toMatchObject({ code: "exists" });
    const loans: Loan[] = [
      {
        id: "l1",
        node: "n2",
        wanted: undefined,
        address: undefined,
        refused: undefined,
        returned: false,
        tunnel: false,
        pod: "a/b",
      },
    ];
    const second = await pools.replace({ ...first, loans }, SIGNAL);
    expect(second.loans).toEqual(loans);
    expect(pools.replace({ ...first, loans: [] }, SIGNAL)).rejects.toMatchObject({ code: "conflict" });
    expect(pools.remove(first, SIGNAL)).rejects.toMatchObject({ code: "conflict" });
    expect(pools.remove({ ...second, uid: "another" }, SIGNAL)).rejects.toMatchObject({ code: "conflict" });
    expect(await pools.block(BLOCK.name, SIGNAL)).toEqual(second);
    await pools.remove(second, SIGNAL);
    await pools.remove(second, SIGNAL);
    expect(await pools.block(BLOCK.name, SIGNAL)).toBeUndefined();
    expect(pools.replace(second, SIGNAL)).rejects.toMatchObject({ code: "not-found" });
  });

  test("status is written beside, and does not touch loans", async () => {
    const first = await pools.create({ ...NEW, tunnelAddress: parseIp("10.8.0.65") }, SIGNAL);
    const allocations: Allocation[] = [
      {
        address: parseIp("10.8.0.66"),
        pod: "a/b",
        podUid: "u1",
        containerId: "c1",
        node: undefined,
        since: 1_700_000_000_000,
      },
    ];
    const second = await pools.writeStatus(
      { ...first, tunnelAddress: undefined },
      { ...REPORT, allocations },
      SIGNAL,
    );
    expect(second).toMatchObject({ allocations, tunnelAddress: parseIp("10.8.0.65") });
    expect(second.reported).toBe(REPORT.reported);
    expect(pools.writeStatus(first, REPORT, SIGNAL)).rejects.toMatchObject({ code: "conflict" });
  });

  test("an answer that was lost is no answer, and the write is not repeated", async () => {
    const real = answer;
    let asked = 0;
    answer = async (request) => {
      asked++;
      await real(request);
      throw Object.assign(new Error("reset"), { code: "ECONNRESET" });
    };
    expect(await pools.create(NEW, SIGNAL).catch((error: unknown) => error)).toMatchObject({
      code: "unavailable",
    });
    expect(asked).toBe(1);
    answer = real;
    expect((await pools.block(BLOCK.name, SIGNAL))?.node).toBe("n1");
    expect(pools.create(NEW, AbortSignal.abort())).rejects.toThrow();
  });
});
