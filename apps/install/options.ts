/** What can be chosen of an install, and its defaults. */
import { WeftError } from "@weft/base";
import { parseSettings } from "@weft/model";
import type { ApiServer } from "./api-server.ts";

export interface InstallOptions {
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  /** Undefined: by the service "kubernetes". */
  readonly apiServer: ApiServer | undefined;
  /** Fields of /etc/weft/settings.yaml. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** The runtime's directories on the nodes. */
  readonly cniBinDir: string;
  readonly cniConfDir: string;
  readonly controllerReplicas: number;
}

export const DEFAULT_NAMESPACE = "weft-system";

/** Image of a version, as `weft image` names it. */
export const imageOf = (version: string): string => `weft.network/weft:${version}`;

export const defaultOptions = (version: string): InstallOptions => ({
  namespace: DEFAULT_NAMESPACE,
  image: imageOf(version),
  imagePullPolicy: "IfNotPresent",
  apiServer: undefined,
  settings: { backend: "auto" },
  cniBinDir: "/opt/cni/bin",
  cniConfDir: "/etc/cni/net.d",
  controllerReplicas: 2,
});

/** Settings from flags and a file's document. Throws "invalid" with every fault. */
export function settingsOf(
  document: unknown,
  flags: { backend?: string; mtu?: string },
): Record<string, unknown> {
  const mtu = flags.mtu === undefined ? undefined : /^\d+$/.test(flags.mtu) ? Number(flags.mtu) : flags.mtu;
  parseSettings(document ?? {});
  const settings = {
    ...(document as object | null | undefined),
    ...(flags.backend === undefined ? {} : { backend: flags.backend }),
    ...(mtu === undefined ? {} : { mtu }),
  };
  parseSettings(settings);
  return { backend: "auto", ...settings };
}

/** The options, if they can be right. Throws "invalid" with the flag concerned. */
export function checkOptions(flags: Partial<InstallOptions>, version: string): InstallOptions {
  const options = { ...defaultOptions(version), ...defined(flags) };
  check("--namespace", options.namespace, /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "a DNS label");
  check("--image", options.image, /^[^\s@:/][^\s@]*(@sha256:[0-9a-f]{64})?$/, "like registry/weft:1.0");
  check(
    "--image-pull-policy",
    options.imagePullPolicy,
    /^(Always|IfNotPresent|Never)$/,
    "Always, IfNotPresent or Never",
  );
  check("--cni-bin-dir", options.cniBinDir, /^\/(?!.*(^|\/)\.\.(\/|$)).+/, "an absolute path");
  check("--cni-conf-dir", options.cniConfDir, /^\/(?!.*(^|\/)\.\.(\/|$)).+/, "an absolute path");
  const { controllerReplicas: n } = options;
  if (!Number.isInteger(n) || n < 1 || n > 10)
    throw invalid("--controllers", String(n), "a whole number from 1 to 10");
  return options;
}

function check(flag: string, value: string, pattern: RegExp, what: string): void {
  if (!pattern.test(value)) throw invalid(flag, value, what);
}

const invalid = (flag: string, value: string, what: string): WeftError =>
  new WeftError("invalid", `${flag} "${value}" is not right`, { hint: `It must be ${what}.` });

function defined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Partial<T>;
}
