/** Where services come from: the directory of manifests, or the Kubernetes API with a copy of what it said last. */
import type { Logger } from "@weft/base";
import { type ManifestRows, watchDirectory } from "@weft/cluster";
import { type ApiClient, createClient, loadCredentials, watchServices } from "@weft/cluster/client";
import type { Services } from "@weft/compile";
import type { ClusterSource } from "../cluster-source.ts";
import { ServiceCopy } from "./copy.ts";

export interface ServicesSource {
  /** In one line: where the rows come from, and whether it answers. */
  state(): string;
  errors(): readonly string[];
  /** Undefined where there is no API to write to. */
  readonly client: ApiClient | undefined;
  stop(): Promise<void>;
}

export interface SourceOptions {
  readonly source: ClusterSource;
  readonly node: string;
  readonly copy: string;
  readonly services: Services;
  /** One commit of the services' database. */
  readonly write: (change: () => void) => void;
  /** The tables hold a whole state: the copy's, then what was read. Resolves once the kernel has been brought there. */
  readonly onKnown: () => Promise<void>;
  readonly logger: Logger;
}

/** Throws "invalid" or "not-found" for bad credentials. */
export function startSource(options: SourceOptions): ServicesSource {
  const { source } = options;
  return source.kind === "directory"
    ? fromDirectory(options, source.directory, source.services)
    : fromApi(options, source.kubeconfig);
}

/** Nodes are in one directory, and what is about services there or in another one. */
function fromDirectory(
  { services, write, onKnown }: SourceOptions,
  directory: string,
  other: string,
): ServicesSource {
  const errors = new Map<string, readonly string[]>();
  const watch = (from: string, take: (rows: ManifestRows) => void): { stop(): void } =>
    watchDirectory(from, (rows) => {
      errors.set(from, rows.errors);
      write(() => take(rows));
    });
  const takeNodes = ({ nodes, blocks }: ManifestRows): void => {
    services.nodes.replaceAll(nodes);
    services.blocks.replaceAll(blocks);
  };
  const takeServices = (rows: ManifestRows): void => {
    services.ranges.replaceAll(rows.serviceRanges);
    services.services.replaceAll(rows.services);
    services.slices.replaceAll(rows.endpointSlices);
  };
  const watches =
    directory === other
      ? [
          watch(directory, (rows) => {
            takeNodes(rows);
            takeServices(rows);
          }),
        ]
      : [watch(directory, takeNodes), watch(other, takeServices)];
  void onKnown();
  return {
    state: () => `manifests in ${directory}${directory === other ? "" : ` and ${other}`}`,
    errors: () => [...errors.values()].flat(),
    client: undefined,
    async stop() {
      for (const each of watches) each.stop();
    },
  };
}

function fromApi(options: SourceOptions, kubeconfig: string | undefined): ServicesSource {
  const { services, write, onKnown, logger, node } = options;
  const client = createClient({
    credentials: loadCredentials(kubeconfig === undefined ? {} : { path: kubeconfig }),
    userAgent: `weft-agent/${node}`,
    logger,
  });
  const copy = new ServiceCopy(options.copy, logger);
  let known = false;
  write(() => {
    known = copy.load(services);
  });
  if (known) void onKnown();
  const watch = watchServices({ client, tables: services, write, logger });
  let stopped = false;
  // The kernel first: the copy is for the next start.
  watch.ready.then(onKnown).then(
    () => {
      if (!stopped) copy.follow(services);
    },
    () => {},
  );
  return {
    state() {
      const states = Object.values(watch.status());
      const away = states.find((s) => s.awaySince !== undefined && s.synced) ?? states.find((s) => !s.synced);
      const text = `Kubernetes API ${client.server}`;
      if (away === undefined) return `${text}: watching`;
      const since =
        away.awaySince === undefined ? "" : `, away since ${new Date(away.awaySince).toISOString()}`;
      return `${text}: ${away.path} ${away.state}${since}${away.lastError === undefined ? "" : ` (${away.lastError})`}`;
    },
    errors: () => watch.errors(),
    client,
    async stop() {
      stopped = true;
      await watch.stop();
      copy.close();
      client.close();
    },
  };
}
