/** Annotations about pools: what they say, and what is said of those that are wrong. */
import { expect, test } from "bun:test";
import { ADDRESSES_ANNOTATION, type AddressRequest, POOLS_ANNOTATION } from "@weft/model";
import { readAsks } from "./asks.ts";
import { parseManifests } from "./manifests.ts";

const asked = (pools: unknown, addresses?: unknown): AddressRequest | undefined =>
  readAsks({ [POOLS_ANNOTATION]: pools, [ADDRESSES_ANNOTATION]: addresses, other: "x" }, true);

test("lists between commas, in order, each once", () => {
  expect(readAsks(undefined, true)).toBeUndefined();
  expect(readAsks({ other: "x" }, true)).toBeUndefined();
  expect(asked("b, a,b", "10.0.0.1, fd00::1") as unknown).toEqual({
    pools: ["b", "a"],
    addresses: ["10.0.0.1", "fd00::1"],
    problem: undefined,
  });
  // Of a namespace, addresses say nothing.
  expect(readAsks({ [ADDRESSES_ANNOTATION]: "10.0.0.1" }, false)).toBeUndefined();
});

test.each<[unknown, unknown, string]>([
  ["", undefined, "annotation weft.network/pools: a name of an IPPool is empty"],
  ["a,", undefined, "is empty"],
  ["A", undefined, 'annotation weft.network/pools: "A": a lowercase RFC 1123 subdomain'],
  [7, undefined, "is empty"],
  [undefined, "10.0.0.1,10.0.0.2", "10.0.0.1 and 10.0.0.2 are of one family"],
  [undefined, "10.0.0.1/24", "annotation weft.network/addresses"],
  [undefined, "here", "annotation weft.network/addresses"],
  ["A", "here", "; annotation weft.network/addresses"],
])("%j and %j are told", (pools, addresses, wanted) => {
  expect(asked(pools, addresses)?.problem).toContain(wanted);
});

test("a directory of manifests has no pools, and says so", () => {
  const text = [
    "{apiVersion: weft.network/v1alpha1, kind: IPPool, metadata: {name: p}, spec: {cidr: 10.0.0.0/16}}",
    `{apiVersion: v1, kind: Pod, metadata: {name: w, annotations: {${POOLS_ANNOTATION}: p}}, spec: {containers: [{name: c, image: i}]}}`,
  ].join("\n---\n");
  const { errors, warnings, pods } = parseManifests(text, "f.yaml");
  expect(errors).toEqual([]);
  expect(warnings).toEqual([
    "f.yaml:1: IPPool p: ignored, address pools need an API server (weft server); a directory of manifests has none",
    "f.yaml:3: Pod default/w: has no effect here: metadata.annotations[weft.network/pools]",
  ]);
  expect(pods[0]?.asks?.pools).toEqual(["p"]);
});
