import { describe, expect, test } from "bun:test";
import { WeftError } from "@weft/base";
import { DEFAULT_OPTIONS, optionDifferences, parseLabName, parseLabOptions } from "./options.ts";

describe("lab options", () => {
  test("defaults", () => {
    expect(parseLabOptions()).toEqual(DEFAULT_OPTIONS);
    expect(parseLabOptions({ nodes: 1 })).toEqual({ ...DEFAULT_OPTIONS, nodes: 1, racks: 1 });
  });

  test("numbers may come as text from a command line", () => {
    expect(parseLabOptions({ nodes: "12", racks: "4", hostile: "forward-drop" })).toMatchObject({
      nodes: 12,
      racks: 4,
      hostile: ["forward-drop"],
    });
  });

  test.each([
    [{ nodes: 0 }, 'nodes: "0" must be a whole number from 1 to 200'],
    [{ nodes: 201 }, 'nodes: "201" must be'],
    [{ nodes: "3x" }, 'nodes: "3x" must be'],
    [{ nodes: 2.5 }, 'nodes: "2.5" must be'],
    [{ nodes: 3, racks: 4 }, 'racks: "4" must be a whole number from 1 to 3 (the number of nodes)'],
    [{ pods: "ipv5" }, 'pods: "ipv5" must be one of ipv4, ipv6, dual'],
    [{ underlay: "" }, 'underlay: "" must be one of'],
    [{ backend: "gre" }, 'backend: "gre" must be one of auto, direct, vxlan'],
    [{ hostile: ["rain"] }, 'hostile: "rain" must be one of forward-drop'],
    [{ manifests: "" }, "manifests: must be the path of a directory"],
    [{ name: "Lab" }, 'name: "Lab" must be 1 to 12'],
    [{ name: "thirteenchars" }, 'name: "thirteenchars" must be 1 to 12'],
    [{ name: "-a" }, 'name: "-a" must be'],
    [{ name: "a-" }, 'name: "a-" must be'],
    [{ name: "a-pod" }, 'name: "a-pod" must not have "-pod" in it'],
    [{ name: "a-pod-b" }, 'name: "a-pod-b" must not have'],
  ])("%j is refused", (input, message) => {
    expect(() => parseLabOptions(input)).toThrow(message);
  });

  test("all faults are named at once", () => {
    let caught: unknown;
    try {
      parseLabOptions({ nodes: -1, pods: "x", backend: "y" });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(WeftError);
    const { message, hint } = caught as WeftError;
    for (const field of ["nodes:", "pods:", "backend:"]) expect(message).toContain(field);
    expect(hint).toBeString();
  });

  test("names alone", () => {
    expect(parseLabName("a-b1")).toBe("a-b1");
    expect(() => parseLabName("a/../b")).toThrow("RFC 1123");
  });

  test("differences name the option and both values", () => {
    expect(optionDifferences(DEFAULT_OPTIONS, DEFAULT_OPTIONS)).toEqual([]);
    expect(
      optionDifferences(DEFAULT_OPTIONS, {
        ...DEFAULT_OPTIONS,
        nodes: 5,
        hostile: ["forward-drop"],
        manifests: "/x",
      }),
    ).toEqual(["nodes is 3, not 5", "hostile is none, not forward-drop", "manifests is the samples, not /x"]);
  });
});
