import { expect, test } from "bun:test";
import type { WeftError } from "@weft/base";
import { type ExecTarget, findTarget } from "./exec.ts";

const target = (name: string, kind: ExecTarget["kind"]): ExecTarget => ({
  name,
  kind,
  namespacePath: undefined,
});
const pods = [target("default/a", "pod"), target("shop/a", "pod"), target("shop/b", "pod")];
const said = (targets: readonly ExecTarget[], asked: string): string => {
  try {
    return findTarget(targets, asked).name;
  } catch (error) {
    const { message, hint } = error as WeftError;
    return `${message}. ${hint}`;
  }
};

test("a target is a node, a pod with its namespace, or a pod's name where it is the only one", () => {
  const all = [target("node1", "underlay"), ...pods];
  expect(said(all, "node1")).toBe("node1");
  expect(said(all, "b")).toBe("shop/b");
  expect(said(all, "shop/a")).toBe("shop/a");
  expect(said(all, "a")).toContain("more than one pod: default/a, shop/a");
});

test("what is not there is told with what there is, of pods alone where only these can be meant", () => {
  expect(said([target("node1", "underlay")], "x")).toBe(
    'the lab has no node or pod "x". There are node1; and pods: none.',
  );
  expect(said(pods, "x")).toBe('the lab has no pod "x". There are pods: default/a, shop/a, shop/b.');
  expect(said([], "x")).toBe('the lab has no pod "x". There are pods: none.');
});
