/** What a node held before, and whether it holds the same again: nothing was left behind, nothing was taken. */
import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import type { TestNode } from "./node.ts";
import { changes, viewOf } from "./view.ts";
import { eventually } from "./wait.ts";

interface State {
  readonly view: readonly string[];
  readonly workloads: readonly string[];
  readonly used: readonly number[];
  readonly files: readonly string[];
}

/** Files that a running agent and this test have: the ledger's own come and go. */
const isLasting = (file: string): boolean => !/ledger\.sqlite-|agent\.log$|faults/.test(file);

async function stateOf(node: TestNode): Promise<State> {
  const { workloads, blocks } = await node.status();
  const files = readdirSync(node.root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => `${entry.parentPath.slice(node.root.length)}/${entry.name}`);
  return {
    view: viewOf(node.node),
    workloads: workloads.map((w) => w.id).sort(),
    used: blocks.map((b) => b.used),
    files: files.filter(isLasting).sort(),
  };
}

export class Baseline {
  readonly #node: TestNode;
  readonly #before: State;

  private constructor(node: TestNode, before: State) {
    this.#node = node;
    this.#before = before;
  }

  static async of(node: TestNode): Promise<Baseline> {
    return new Baseline(node, await stateOf(node));
  }

  /** Expects the same kernel, ledger and files, now. */
  async expectSame(): Promise<void> {
    const now = await stateOf(this.#node);
    expect(changes(this.#before.view, now.view)).toEqual([]);
    expect({ ...now, view: [] }).toEqual({ ...this.#before, view: [] });
  }

  /** Expects it after a while: for what the agent does by itself. */
  async expectSoon(limit = 60_000): Promise<void> {
    await eventually(
      "the node is as it was",
      () =>
        this.expectSame()
          .then(() => true)
          .catch(() => false),
      limit,
    ).catch(() => this.expectSame());
  }
}
