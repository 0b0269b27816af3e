/**
 * A node's kernel for tests, in memory or real: a loopback, an uplink with a carrier, and containers. The real
 * one is in namespaces without a name, which are gone with the process, whatever becomes of it.
 */
import { type IpWithLength, parseMac } from "@weft/base";
import { createConntrack } from "@weft/kernel/conntrack";
import { createFakeKernel, type FakeKernel } from "@weft/kernel/fake";
import { createAnonymous } from "@weft/kernel/netns";
import { createNftables } from "@weft/kernel/nftables";
import type { Kernel, NetworkNamespace, Nftables } from "@weft/kernel/port";
import { LinkRemover, openNamespace, RealNamespace } from "@weft/kernel/rtnetlink";
import { parseWritten } from "./raw-payload.ts";

export interface Container {
  readonly path: string;
  readonly identity: string;
  /** In the hands of somebody else. */
  readonly inside: NetworkNamespace;
  end(): void;
}

export interface World {
  readonly kernel: Kernel;
  /** The same, in the hands of somebody else: not in `writes`. */
  readonly self: NetworkNamespace;
  readonly nftables: Nftables;
  /** Calls that may change something, "replaceRoute 10.0.0.0/24 ...". */
  readonly writes: string[];
  /** Undefined for the real kernel, which fails only when it must. */
  readonly fake: FakeKernel | undefined;
  newContainer(): Container;
  /** Gives the uplink these addresses and no others. */
  setUplink(mtu: number, addresses: readonly string[]): void;
  close(): void;
}

export type MakeWorld = () => World;
export const WORLDS: readonly (readonly [name: string, make: MakeWorld])[] = [
  ["in memory", fakeWorld],
  ["Linux", realWorld],
];

export function fakeWorld(): World {
  const fake = createFakeKernel();
  const self = fake.outsider(fake.kernel.self);
  const nftables = fake.outsiderNftables(fake.kernel.self);
  const writes: string[] = [];
  const kernel = { ...fake.kernel, nftables: parseWritten(fake.kernel.nftables) };
  const port = fake.newNamespace();
  return {
    kernel: recorded(kernel, writes),
    self,
    nftables: parseWritten(nftables),
    writes,
    fake,
    newContainer() {
      const held = fake.newNamespace();
      const inside = fake.outsider(held);
      return {
        path: held.path,
        identity: held.identity,
        inside,
        end() {
          held.close();
          fake.removeNamespace(held.path);
        },
      };
    },
    setUplink: uplink(self, fake.outsider(port)),
    close() {},
  };
}

export function realWorld(): World {
  const remover = new LinkRemover();
  const open: { close(): void }[] = [];
  const make = (): RealNamespace => {
    const namespace = new RealNamespace(createAnonymous(), remover);
    open.push(namespace);
    return namespace;
  };
  const self = make();
  const nftables = createNftables(self);
  const conntrack = createConntrack(self);
  open.push(nftables, conntrack);
  const writes: string[] = [];
  const kernel: Kernel = {
    self,
    nftables,
    conntrack,
    open: (path) => openNamespace(path, remover),
    watch: () => () => {},
  };
  return {
    kernel: recorded(kernel, writes),
    self,
    nftables,
    writes,
    fake: undefined,
    newContainer() {
      const inside = make();
      return { path: inside.path, identity: inside.identity, inside, end: () => inside.close() };
    },
    setUplink: uplink(self, make()),
    close() {
      for (const each of open.reverse()) each.close();
    },
  };
}

/** Makes the uplink: a pair whose other end is in `fabric`. */
function uplink(self: NetworkNamespace, fabric: NetworkNamespace): World["setUplink"] {
  self.changeLink("lo", { up: true });
  self.createVeth({
    name: "eth0",
    mac: parseMac("02:00:00:00:00:11"),
    mtu: 1500,
    addressGeneration: "none",
    peer: { name: "port", mac: parseMac("02:00:00:00:00:12"), mtu: 1500, namespace: fabric },
  });
  fabric.changeLink("port", { up: true });
  self.changeLink("eth0", { up: true });
  return (mtu, addresses) => {
    fabric.changeLink("port", { mtu });
    self.changeLink("eth0", { mtu });
    const before = self.addresses("eth0").filter((a) => a.scope === "global");
    // Old ones go first: with a primary IPv4 address go the secondary ones of its subnet.
    for (const { address } of before) if (!addresses.includes(address)) self.deleteAddress("eth0", address);
    for (const address of addresses) self.replaceAddress({ link: "eth0", address: address as IpWithLength });
  };
}

const WRITE = /^(create|change|move|delete|set|replace|addElements$|run$)/;

/** The same kernel, which notes what is asked of it. */
function recorded(kernel: Kernel, writes: string[]): Kernel {
  const wrap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(_, property) {
        const value: unknown = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (WRITE.test(String(property))) writes.push(`${String(property)} ${wordsOf(args)}`);
          return (value as (...args: unknown[]) => unknown).apply(target, args.map(unwrap));
        };
      },
    });
  const wrapped = new WeakMap<object, object>();
  const namespace = (ns: NetworkNamespace): NetworkNamespace => {
    const proxy = wrap(ns);
    wrapped.set(proxy, ns);
    return proxy;
  };
  /** The in-memory kernel knows its own handles only. */
  const unwrap = (arg: unknown): unknown => {
    if (typeof arg !== "object" || arg === null) return arg;
    const own = wrapped.get(arg);
    if (own !== undefined) return own;
    const { peer } = arg as { peer?: { namespace?: object } };
    const inner = peer?.namespace === undefined ? undefined : wrapped.get(peer.namespace);
    return inner === undefined ? arg : { ...arg, peer: { ...peer, namespace: inner } };
  };
  return {
    self: namespace(kernel.self),
    nftables: wrap(kernel.nftables),
    conntrack: wrap(kernel.conntrack),
    open: (path) => namespace(kernel.open(path)),
    watch: (listener, options) => kernel.watch(listener, options),
  };
}

const wordsOf = (args: readonly unknown[]): string =>
  args
    .map((a) =>
      typeof a === "object" ? JSON.stringify(a, (k, v) => (k === "namespace" ? undefined : v)) : a,
    )
    .join(" ");
