import { afterAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Authority, kubeconfig } from "./pki.ts";

const scratch = mkdtempSync(join(tmpdir(), "weft-pki-"));
afterAll(() => rmSync(scratch, { recursive: true }));

test("a leaf is signed by the authority, for its names and for nothing else", async () => {
  const authority = await Authority.make(scratch);
  const names = ["DNS:node1", "IP:172.31.1.11", "IP:fd00:172:31:1::b"];
  const leaf = await authority.issue({
    name: "node1",
    commonName: "system:node:node1",
    organization: "nodes",
    names,
  });
  const ca = new X509Certificate(authority.certificate);
  const certificate = new X509Certificate(leaf.certificate);
  expect(ca.ca).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.verify(ca.publicKey)).toBe(true);
  expect(certificate.subject).toBe("O=nodes\nCN=system:node:node1");
  expect(certificate.checkHost("node1")).toBe("node1");
  expect(certificate.checkHost("node2")).toBeUndefined();
  expect(certificate.checkIP("172.31.1.11")).toBe("172.31.1.11");
  expect(certificate.checkIP("fd00:172:31:1::b")).toBeDefined();
  const file = JSON.stringify(kubeconfig("https://[fd00::1]:6443", authority, leaf));
  expect(file).toContain(Buffer.from(leaf.key).toString("base64"));
});
