/** The peer's side: Debian's reference plugins, in the list that kubenet and kind have made the usual one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import { type NetworkConfigurationList, parseNetworkConfigurationList } from "@weft/cni/types";
import { packageVersion } from "../machine.ts";

export const REFERENCE_PACKAGE = "containernetworking-plugins";
const REFERENCE_DIRECTORY = "/usr/lib/cni";

/** Throws "not-found" where they are not installed. */
export function referencePlugins(): string {
  for (const name of ["bridge", "host-local", "portmap"]) {
    if (existsSync(join(REFERENCE_DIRECTORY, name))) continue;
    throw new WeftError("not-found", `there is no ${REFERENCE_DIRECTORY}/${name} to compare with`, {
      object: name,
      hint: `Install it with: apt-get install ${REFERENCE_PACKAGE}`,
    });
  }
  return REFERENCE_DIRECTORY;
}

export const referenceName = (): string =>
  `bridge + host-local + portmap ${packageVersion(REFERENCE_PACKAGE) ?? ""}`.trimEnd();

/** No masquerading and no source checks: the least that the reference plugins can do for a pod. */
export function referenceList(data: string, range: string): NetworkConfigurationList {
  return parseNetworkConfigurationList({
    cniVersion: "1.0.0",
    name: "reference",
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: range }]],
          routes: [{ dst: "0.0.0.0/0" }],
          dataDir: data,
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });
}
