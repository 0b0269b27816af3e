import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { workload } from "../testing/workload.ts";
import { seeCgroups } from "./sight.ts";

test("processes are only believed to be all there are where a runtime is among them", () => {
  const directory = mkdtempSync(join(tmpdir(), "weft-t-orphans-"));
  try {
    copyFileSync(Bun.which("sleep") as string, join(directory, "kubelet"));
    const look = `const seen = (await import("${import.meta.dir}/sight.ts")).seeProcesses();
      console.log(seen === undefined ? "blind" : seen.lives({ namespacePath: "/proc/self/ns/net" }));`;
    const script =
      // It is looked at once it is the program, and not the shell that becomes it.
      'mount -t proc proc /proc; "$2" 60 & while grep -qx sh /proc/$!/comm; do sleep 0.01; done; "$0" -e "$1"; kill $!';
    const command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script];
    const seenBeside = (program: string): string => {
      const { stdout } = Bun.spawnSync([...command, process.execPath, look, program]);
      return stdout.toString().trim();
    };
    expect(seenBeside("sleep")).toBe("blind");
    expect(seenBeside(join(directory, "kubelet"))).toBe("true");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

const UID = "0f9c5a3e-0000-4000-8000-000000000001";
const web = workload("aaaa", "", { podUid: UID });
const newer = workload("bbbb", "", { podUid: UID, since: 2 });
const other = workload("cccc", "", { podUid: "0f9c5a3e-0000-4000-8000-000000000002" });

/** Directories as a kubelet makes them; a cgroup has processes if it, or one below, is in `populated`. */
function tree(version: 1 | 2, paths: readonly string[], populated: readonly string[]): string {
  const root = mkdtempSync(join(tmpdir(), "weft-t-cgroups-"));
  const top = version === 1 ? join(root, "pids") : root;
  for (const path of paths) {
    const parts = path.split("/");
    for (let i = 1; i <= parts.length; i++) {
      const directory = parts.slice(0, i).join("/");
      const has = populated.some((p) => p === directory || p.startsWith(`${directory}/`));
      mkdirSync(join(top, directory), { recursive: true });
      const [file, text] =
        version === 1
          ? ["pids.current", has ? "3\n" : "0\n"]
          : ["cgroup.events", `populated ${has ? 1 : 0}\nfrozen 0\n`];
      writeFileSync(join(top, directory, file), text);
    }
  }
  return root;
}

const CGROUPFS = (uid: string, id: string): string => `kubepods/burstable/pod${uid}/${id}`;
const SYSTEMD = (uid: string, id: string): string => {
  const slice = `kubepods-besteffort-pod${uid.replaceAll("-", "_")}.slice`;
  return `kubepods.slice/kubepods-besteffort.slice/${slice}/cri-containerd-${id}.scope`;
};

test.each([
  ["cgroup v1, cgroupfs", 1, CGROUPFS],
  ["cgroup v2, systemd", 2, SYSTEMD],
] as const)("%s: pods and sandboxes live by what is in their cgroups", (_name, version, path) => {
  const otherPath = path(other.podUid as string, "cccc");
  const seen = (paths: readonly string[], populated: readonly string[]) => {
    const root = tree(version, paths, populated);
    try {
      return seeCgroups([join(root, "none"), root]);
    } finally {
      rmSync(root, { recursive: true });
    }
  };
  const all = [path(UID, "aaaa"), path(UID, "bbbb"), path(UID, "workload"), otherPath];
  const lives = (...populated: string[]) => {
    const sight = seen(all, populated);
    return [sight?.lives(web, undefined), sight?.lives(web, newer), sight?.lives(other, undefined)];
  };
  expect(lives(otherPath)).toEqual([false, true, true]);
  expect(lives(path(UID, "aaaa"), otherPath)).toEqual([true, true, true]);
  // Not the sandbox, but a container of its pod.
  expect(lives(path(UID, "workload"))).toEqual([true, true, false]);
  // The newer sandbox is the pod's; the older one is no more.
  expect(lives(path(UID, "bbbb"))).toEqual([true, false, false]);
  // Nothing lives, not even the agent: that cannot be all.
  expect(seen(all, [])).toBeUndefined();
  expect(seen(["system.slice/containerd.service"], ["system.slice/containerd.service"])).toBeUndefined();
  expect(seen([otherPath], [otherPath])?.lives(workload("aaaa", "", { podUid: undefined }), undefined)).toBe(
    true,
  );
});
