/** weft install: print or apply what Weft is made of in a cluster. */
import { readFileSync } from "node:fs";
import { VERSION } from "@weft/agent";
import { WeftError } from "@weft/base";
import { readDocuments } from "@weft/cluster";
import type { Credentials } from "@weft/cluster/client";
import {
  apiServerOf,
  applyInstall,
  checkOptions,
  type InstallOptions,
  imageOf,
  installObjects,
  manifestText,
  parseApiServer,
  settingsOf,
  untilReady,
} from "@weft/install";
import type { Command } from "commander";
import { example } from "../help.ts";
import { paint, print, printJson } from "../output.ts";
import { parseDuration } from "./agent.ts";
import { type ClusterFlags, clientOf, credentialsOf, say, withCluster } from "./cluster.ts";

interface InstallFlags extends ClusterFlags {
  readonly image?: string;
  readonly imagePullPolicy?: string;
  readonly apiServer?: string;
  readonly settings?: string;
  readonly backend?: string;
  readonly mtu?: string;
  readonly cniBinDir?: string;
  readonly cniConfDir?: string;
  readonly controllers?: string;
  readonly wait: boolean;
}

export function installCommand(program: Command): void {
  const install = withCluster(
    program
      .command("install")
      .description("print the objects that make Weft a cluster's network, or apply them")
      .option("--apply", "apply them and wait until every node is ready")
      .option("--no-wait", "apply, and do not wait"),
  )
    .option("--image <name>", `container image, as weft image makes it (default: ${imageOf(VERSION)})`)
    .option("--image-pull-policy <policy>", "Always, IfNotPresent or Never")
    .option(
      "--api-server <url>",
      'address that nodes reach the API server by, or "service" (default: the kubeconfig\'s)',
    )
    .option("--settings <file>", "settings of the network, YAML")
    .option("--backend <name>", "setting: auto, direct or vxlan")
    .option("--mtu <number>", "setting: MTU of pods, or auto")
    .option("--cni-bin-dir <directory>", "the runtime's directory of CNI plugins on the nodes")
    .option("--cni-conf-dir <directory>", "the runtime's directory of CNI configuration on the nodes")
    .option("--controllers <number>", "controllers to run; one leads")
    .action(async (flags: InstallFlags, command: Command) => {
      const timeout = parseDuration(flags.timeout);
      if (flags.apply !== true) {
        const waiting = ["wait", "timeout"].filter((name) => command.getOptionValueSource(name) === "cli");
        if (waiting.length > 0) {
          const flag = waiting[0] === "wait" ? "--no-wait" : "--timeout";
          throw new WeftError("invalid", `${flag} says how to apply, and nothing is applied`, {
            hint: `Add --apply, or leave ${flag} out.`,
          });
        }
      }
      const withSettings = [flags.settings, flags.backend, flags.mtu].some((f) => f !== undefined);
      const given = checkOptions(optionsOf(flags), VERSION);
      const credentials = credentialsOf(flags);
      const options: InstallOptions = { ...given, apiServer: apiServer(flags, credentials) };
      if (flags.apply !== true) {
        const objects = installObjects(options);
        if (flags.json === true) printJson({ apiVersion: "v1", kind: "List", items: objects });
        else print(manifestText(objects));
        return;
      }
      const client = clientOf(credentials);
      const { objects } = await applyInstall({
        client,
        install: options,
        withSettings,
        onObject: (object, action) => say(`${action.padEnd(9)} ${object}`),
      });
      if (flags.wait) {
        await untilReady({ client, namespace: options.namespace, timeout, onProgress: say });
      }
      client.close();
      if (flags.json === true) {
        printJson({ version: VERSION, namespace: options.namespace, objects, ready: flags.wait });
      } else print(flags.wait ? paint("green", "Weft is the network of every node") : "applied");
    });
  example(
    install,
    "weft install --image registry.example.org/weft:1 | kubectl apply -f -",
    "weft install --apply --backend vxlan",
  );
}

function optionsOf(flags: InstallFlags): Partial<InstallOptions> {
  const document = flags.settings === undefined ? {} : readSettings(flags.settings);
  const settings = settingsOf(document, {
    ...(flags.backend === undefined ? {} : { backend: flags.backend }),
    ...(flags.mtu === undefined ? {} : { mtu: flags.mtu }),
  });
  const given = {
    namespace: flags.namespace,
    image: flags.image,
    imagePullPolicy: flags.imagePullPolicy as InstallOptions["imagePullPolicy"] | undefined,
    settings,
    cniBinDir: flags.cniBinDir,
    cniConfDir: flags.cniConfDir,
    controllerReplicas: flags.controllers === undefined ? undefined : Number(flags.controllers),
  };
  return Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined));
}

function readSettings(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new WeftError("invalid", `the settings cannot be read: ${(cause as Error).message}`, {
      object: file,
      hint: "Give --settings a file that is there and can be read.",
      cause,
    });
  }
  const { documents, errors } = readDocuments(text);
  const fault = errors[0];
  if (fault !== undefined) {
    throw new WeftError("invalid", fault.message, {
      object: `${file}:${fault.line}`,
      hint: "Correct the YAML there; README.md shows settings.",
    });
  }
  if (documents.length > 1) {
    throw new WeftError("invalid", "settings are one document, not several", {
      object: file,
      hint: "Leave one of the parts between the lines of ---.",
    });
  }
  return documents[0]?.value;
}

/** What was asked for; else the kubeconfig's server, if nodes can reach it by that address; else the service. */
function apiServer(flags: InstallFlags, credentials: Credentials | undefined): InstallOptions["apiServer"] {
  if (flags.apiServer === "service") return undefined;
  if (flags.apiServer !== undefined) return parseApiServer(flags.apiServer);
  if (credentials === undefined) return undefined;
  const { apiServer: found, unusable } = apiServerOf(credentials.server);
  if (found === undefined) {
    say(
      `the API server is reached by its service: ${unusable}. Where services need Weft, name it with --api-server.`,
    );
  }
  return found;
}
