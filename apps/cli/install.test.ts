/** weft install and its like as a user calls them: exit codes, words, and what is printed where. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeApi, failure, serveApi, writeKubeconfig } from "@weft/cluster/client/testing";

setDefaultTimeout(110_000);
const scratch = mkdtempSync(join(tmpdir(), "weft-cli-test-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const MAIN = join(import.meta.dir, "main.ts");

async function weft(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, ...words], {
    env: { PATH: process.env["PATH"] ?? "", HOME: scratch },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, err };
}

const kubeconfig = (server: string): string =>
  writeKubeconfig(join(scratch, `${crypto.randomUUID()}.conf`), server);

test("without a kubeconfig the objects are printed, and nothing else", async () => {
  const { code, out, err } = await weft("install", "--image", "example.org/weft:7", "--backend", "vxlan");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toStartWith("---\napiVersion: v1\nkind: Namespace\n");
  expect(out).toContain("image: example.org/weft:7");
  expect(out).toContain("backend: vxlan");
  expect(out).not.toContain("KUBERNETES_SERVICE_HOST");
  const json = await weft("install", "--json");
  expect(JSON.parse(json.out).kind).toBe("List");
});

test("the kubeconfig's server becomes the nodes', unless it is an address of this machine", async () => {
  const far = await weft("install", "--kubeconfig", kubeconfig("https://[fd00::1]:6443"));
  expect(far.out).toMatch(/KUBERNETES_SERVICE_HOST\n +value: fd00::1\n/);
  expect(far.out).toMatch(/KUBERNETES_SERVICE_PORT\n +value: "6443"\n/);
  const near = await weft("install", "--kubeconfig", kubeconfig("https://127.0.0.1:6443"));
  expect(near.out).not.toContain("KUBERNETES_SERVICE_HOST");
  expect(near.err).toContain("is this machine only");
  const named = ["--api-server", "https://10.0.0.1:6443"];
  const given = await weft("install", ...named, "--kubeconfig", kubeconfig("https://127.0.0.1:6443"));
  expect(given.out).toMatch(/KUBERNETES_SERVICE_HOST\n +value: 10\.0\.0\.1\n/);
  expect(given.err).toBe("");
});

test("wrong use: exit code 2, and what is wrong", async () => {
  const file = join(scratch, "settings.yaml");
  writeFileSync(file, "vxlan:\n  vni: 0\n");
  const cases: readonly (readonly [string[], RegExp])[] = [
    [["--colour"], /unknown option '--colour'/],
    [["surplus"], /too many arguments/],
    [["--backend", "pigeon"], /backend: "pigeon" must be one of/],
    [["--mtu", "12"], /mtu: "12" must be a whole number/],
    [["--settings", file], /vxlan\.vni/],
    [["--settings", join(scratch, "nowhere")], /cannot be read.*ENOENT/],
    [["--namespace", "No_Name"], /--namespace "No_Name"/],
    [["--api-server", "10.0.0.1"], /no address of an API server/],
    [["--controllers", "many"], /--controllers/],
    [["--timeout", "soon"], /no duration/],
    [["--timeout", "1m"], /--timeout says how to apply, and nothing is applied/],
    [["--no-wait"], /--no-wait says how to apply, and nothing is applied/],
  ];
  for (const [words, message] of cases) {
    const { code, out, err } = await weft("install", ...words);
    expect({ words, code, out }).toEqual({ words, code: 2, out: "" });
    expect(err).toMatch(message);
  }
});

test("a kubeconfig that is missing, broken, or without that context", async () => {
  const broken = join(scratch, "broken.conf");
  writeFileSync(broken, "clusters: [");
  const missing = await weft("install", "--apply", "--kubeconfig", join(scratch, "nowhere"));
  expect(missing.code).toBe(1);
  expect(missing.err).toContain("cannot be read");
  const invalid = await weft("install", "--apply", "--kubeconfig", broken);
  expect(invalid.code).toBe(2);
  expect(invalid.err).toContain("broken.conf:1");
  const file = kubeconfig("https://10.0.0.1:6443");
  const context = await weft("install", "--apply", "--kubeconfig", file, "--context", "other");
  expect(context.code).toBe(1);
  expect(context.err).toContain('there is no "other"');
  const none = await weft("uninstall", "--apply");
  expect(none.code).toBe(1);
  expect(none.err).toContain("there is no kubeconfig");
});

test("a server that is not there: exit code 3; one that refuses: 1, with what to do", async () => {
  const closed = await weft("install", "--apply", "--kubeconfig", kubeconfig("http://127.0.0.1:9"));
  expect(closed.code).toBe(3);
  expect(closed.err).toContain("http://127.0.0.1:9");
  const api = new FakeApi();
  api.intercept = ({ path }) =>
    path === "/version"
      ? Response.json({ major: "1", minor: "34" })
      : failure(403, "Forbidden", 'User "joe" cannot list resource "daemonsets"');
  const { url, stop } = await serveApi(api);
  const denied = await weft("install", "--apply", "--kubeconfig", kubeconfig(url));
  stop();
  expect(denied.code).toBe(1);
  expect(denied.err).toContain('User "joe" cannot list');
  expect(denied.err).toContain("Role");
});

test("an apply without waiting says on standard error what became of each object, and gives JSON", async () => {
  const api = new FakeApi();
  api.intercept = ({ path }) =>
    path === "/version" ? Response.json({ major: "1", minor: "34" }) : undefined;
  const { url, stop } = await serveApi(api);
  const done = await weft("install", "--apply", "--no-wait", "--json", "--kubeconfig", kubeconfig(url));
  stop();
  expect(done.code).toBe(0);
  expect(done.err).toContain("created   DaemonSet weft-system/weft-agent");
  const report = JSON.parse(done.out) as { objects: unknown[]; ready: boolean };
  expect(report.objects.length).toBeGreaterThan(10);
  expect(report.ready).toBe(false);
});

test("the node's commands: no agent, no file", async () => {
  const socket = join(scratch, "nobody.sock");
  for (const word of ["ready", "alive"]) {
    const { code, err } = await weft("agent", word, "--socket", socket);
    expect({ word, code }).toEqual({ word, code: 3 });
    expect(err).toContain("does not answer");
  }
  const controller = await weft("controller", "ready", "--file", join(scratch, "no-file"));
  expect(controller.code).toBe(3);
  expect((await weft("controller", "--grace", "0")).code).toBe(2);
  expect((await weft("agent", "place")).code).toBe(2);
});

test("an image that cannot be written leaves nothing", async () => {
  const { code, err } = await weft("image", "--output", join(scratch, "no-such-directory", "weft.tar"));
  expect(code).not.toBe(0);
  expect(err).toContain("no-such-directory");
});
