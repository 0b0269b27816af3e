import { expect, test } from "bun:test";
import { CniError } from "../errors.ts";
import { CNI_VERSIONS, compareVersions, highestVersion, parseVersion, versionAtLeast } from "./version.ts";

test("versions compare by number", () => {
  expect([...CNI_VERSIONS].sort(compareVersions)).toEqual([...CNI_VERSIONS]);
  expect(compareVersions("0.10.0", "0.9.0")).toBeGreaterThan(0);
  expect(compareVersions("1", "1.0.0")).toBe(0);
  expect(versionAtLeast("0.3.1", "0.4.0")).toBe(false);
  expect(highestVersion(["0.4.0", "1.1.0", "1.0.0"])).toBe("1.1.0");
  expect(highestVersion([])).toBeUndefined();
});

test("what is no version is error 6, one that is not known error 1", () => {
  const codeOf = (text: string): number => {
    try {
      parseVersion(text);
    } catch (error) {
      if (error instanceof CniError) return error.cniCode;
    }
    return 0;
  };
  for (const bad of ["", "x", "1.0.0.0", "1.0.0-rc1", "-1.0.0", "1..0"]) expect(codeOf(bad)).toBe(6);
  for (const unknown of ["0.5.0", "2.0.0", "1.0", "99.0.0"]) expect(codeOf(unknown)).toBe(1);
  for (const known of CNI_VERSIONS) expect(codeOf(known)).toBe(0);
});
