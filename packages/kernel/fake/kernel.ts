/**
 * A Kernel in memory, for tests of what is built on one. It behaves as Linux does where that can be told from
 * outside: what goes with a link, which routes are refused, what comes with an address, what the watch hears.
 *
 *     const fake = createFakeKernel();
 *     const pod = fake.newNamespace("/run/netns/web");
 *     fake.failNext("replaceRoute", new WeftError("busy", "try again"));
 *     apply(fake.kernel);
 *     expect(fake.writes).toEqual([]); // nothing had changed
 *     await fake.outsider(pod).deleteLink("eth0"); // somebody else did
 */
import { WeftError } from "@weft/base";
import type { Kernel, NetworkNamespace, Nftables, NftFamily } from "../port.ts";
import { FakeConntrack } from "./conntrack.ts";
import { addLoopback } from "./link.ts";
import { FakeNamespace, releaseNamespace } from "./namespace.ts";
import { FakeNftables } from "./nftables.ts";
import { type Operation, Recorder, type Write } from "./recorder.ts";
import { fail, type NamespaceState, World } from "./state.ts";

export interface FakeKernel {
  readonly kernel: Kernel;
  /** Makes a namespace with a loopback that is down, to be found by that path, and opens it. Throws "exists". */
  newNamespace(path?: string): NetworkNamespace;
  /** Takes away a path. The namespace ends with its last path and handle; links with ends elsewhere go too. */
  removeNamespace(path: string): void;
  /** nftables of a namespace; kernel.nftables is that of kernel.self. */
  nftablesOf(namespace: NetworkNamespace): Nftables;
  /** A handle on the namespace for somebody else: not in `writes`, and deaf to failNext. */
  outsider(namespace: NetworkNamespace): NetworkNamespace;
  /** nftables in the hands of somebody else. */
  outsiderNftables(namespace: NetworkNamespace): Nftables;
  /** What kernel.conntrack tells of: flows come by its add(). */
  readonly conntrack: FakeConntrack;
  /** Calls that may change something, in order, failed ones too. Empty it by `writes.length = 0`. */
  readonly writes: Write[];
  /** Scripts that nft took, in order. */
  readonly scripts: string[];
  /** The next call of that name throws this and does nothing. Several calls of failNext queue up. */
  failNext(op: Operation, error: Error): void;
  /** The watchers hear that events were lost. */
  overflow(): void;
}

const OWN: readonly string[] = ["/proc/self/ns/net", "/proc/thread-self/ns/net"];

export function createFakeKernel(): FakeKernel {
  const world = new World();
  const recorder = new Recorder();
  const scripts: string[] = [];
  const rulesets = new WeakMap<NamespaceState, FakeNftables>();
  let lastPath = 0;

  const make = (): NamespaceState => {
    const state = world.makeNamespace();
    addLoopback(state);
    return state;
  };
  const selfState = make();
  const conntrack = new FakeConntrack("self", recorder);
  const self = new FakeNamespace("self", selfState, recorder);
  // The process holds its own namespace, whatever becomes of the handle.
  selfState.holders++;

  const nftables = (namespace: NetworkNamespace): FakeNftables => {
    const state = FakeNamespace.stateOf(namespace, selfState);
    const ruleset = {
      tables: new Map(),
      generation: 1,
      changed: (family: NftFamily, table: string) => world.emitTable(state, family, table),
    };
    const known = rulesets.get(state) ?? new FakeNftables(namespace.path, recorder, scripts, ruleset);
    rulesets.set(state, known);
    return known;
  };

  return {
    kernel: {
      self,
      nftables: nftables(self),
      conntrack,
      open(path) {
        recorder.failIfTold("open");
        const state = OWN.includes(path) ? selfState : world.paths.get(path);
        if (state === undefined) throw fail("ENOENT", "open", `network namespace ${path}`);
        return new FakeNamespace(path, state, recorder);
      },
      watch(listener, options = {}) {
        recorder.failIfTold("watch");
        return world.watch(listener, options.allNamespaces === true, options.rulesets !== false);
      },
    },
    newNamespace(path) {
      lastPath++;
      const name = path ?? `/run/netns/fake-${lastPath}`;
      if (world.paths.has(name)) throw new WeftError("exists", `${name} is there already`, { object: name });
      const state = make();
      state.holders++;
      world.paths.set(name, state);
      return new FakeNamespace(name, state, recorder);
    },
    removeNamespace(path) {
      const state = world.paths.get(path);
      if (state === undefined) return;
      world.paths.delete(path);
      releaseNamespace(state);
    },
    nftablesOf: nftables,
    outsider: (namespace) =>
      new FakeNamespace(namespace.path, FakeNamespace.stateOf(namespace, selfState), undefined),
    outsiderNftables: (namespace) => nftables(namespace).outsider(),
    conntrack,
    writes: recorder.writes,
    scripts,
    failNext: (op, error) => recorder.failNext(op, error),
    overflow: () => world.overflow(),
  };
}
