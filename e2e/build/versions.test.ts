import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const lines = (folder: string): string[] =>
  readFileSync(join(import.meta.dir, folder, "go.mod"), "utf8").split("\n");
/** "k8s.io/kubernetes v1.34.4" and "k8s.io/api => k8s.io/api v0.34.4". */
const versions = (folder: string): string[] =>
  lines(folder)
    .map((line) => line.trim().replace(/^require /, ""))
    .filter((line) => line.includes(" => ") || line.startsWith("k8s.io/kubernetes "));

test("the tests are of the same Kubernetes as the cluster's programs, staging modules too", () => {
  expect(versions(".").length).toBeGreaterThan(30);
  expect(versions("upstream")).toEqual(versions("."));
});
