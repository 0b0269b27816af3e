import { expect, test } from "bun:test";
import { imageNames, linkedLibraries } from "./images.ts";

test("an image is found by its path, in every version", () => {
  const listed = [
    "registry.k8s.io/e2e-test-images/agnhost:2.56",
    "gcr.io/k8s-authenticated-test/agnhost:2.6",
    "registry.k8s.io/e2e-test-images/nginx:1.14-4",
    "registry.k8s.io/e2e-test-images/nginx:1.15-4",
  ].join("\n");
  expect(imageNames(listed, "e2e-test-images/agnhost")).toEqual([
    "registry.k8s.io/e2e-test-images/agnhost:2.56",
  ]);
  expect(imageNames(listed, "e2e-test-images/nginx").map((name) => name.slice(-6))).toEqual([
    "1.14-4",
    "1.15-4",
  ]);
  expect(() => imageNames(listed, "agnhost")).toThrow("lists no image registry.k8s.io/agnhost");
});

test("libraries are read from ldd's lines", () => {
  const printed =
    "\tlinux-vdso.so.1 (0x00007f08c59f8000)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f08c58d4000)\n" +
    "\t/lib64/ld-linux-x86-64.so.2 (0x00007f08c59fa000)\n\tlibgone.so => not found\n";
  expect(linkedLibraries(printed)).toEqual([
    "/lib/x86_64-linux-gnu/libz.so.1",
    "/lib64/ld-linux-x86-64.so.2",
  ]);
});
