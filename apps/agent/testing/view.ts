/**
 * What a namespace holds, as text, by ip(8), bridge(8) and nft(8): a second pair of eyes beside the agent's own. Only
 * what must stay the same is shown: no counters, no ages, no numbers of links, which a link that is made anew gets.
 */
import type { TestNamespace } from "./namespaces.ts";

type Json = Readonly<Record<string, unknown>>;

const LINKS_AND_ADDRESSES = ["-details link show", "address show"];
const OF_FAMILY = ["route show table all", "rule show", "neighbour show nud permanent"];

/** Sorted lines: links, addresses, routes, rules, permanent neighbours, forwarding entries, nftables. */
export function viewOf(ns: TestNamespace): string[] {
  const [links = [], addresses = []] = json(
    ns,
    LINKS_AND_ADDRESSES.map((w) => `ip -json ${w}`),
  );
  const [routes4, rules4, neighbours4, routes6, rules6, neighbours6] = json(ns, [
    ...OF_FAMILY.map((w) => `ip -json -4 ${w}`),
    ...OF_FAMILY.map((w) => `ip -json -6 ${w}`),
  ]);
  const all = (...lists: (readonly Json[] | undefined)[]): Json[] => lists.flatMap((l) => l ?? []);
  return [
    ...links.map(linkText),
    ...addresses.flatMap(addressTexts),
    ...all(routes4, routes6).filter(isLasting).map(routeText),
    ...all(rules4, rules6).map((r) => text("rule", r, ["priority", "src", "srclen", "table"])),
    ...all(neighbours4, neighbours6).map((n) => text("neighbour", n, ["dst", "dev", "lladdr"])),
    ...forwardingTexts(ns, links),
    ...nftTexts(ns),
  ].sort();
}

/** The lines of the view that are of services, which follow from other things than pods and peers do. */
export const isOfServices = (line: string): boolean => /^([-+] )?nft .* weft-services /.test(line);

/** The lines of the view that are Weft's: links, routes, rules, neighbours and set elements; not those of services. */
export const ownPart = (view: readonly string[]): string[] =>
  view.filter(
    (line) =>
      /weft|protocol=87|^rule .*table=8700/.test(line) &&
      !/^nft (table|chain|rule|set|map|counter)/.test(line) &&
      !isOfServices(line),
  );

/** What is in one and not in the other, for messages: "- gone", "+ new". */
export function changes(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ];
}

/** Outputs of commands that print one JSON list each, run by one shell. */
function json(ns: TestNamespace, commands: readonly string[]): (readonly Json[])[] {
  return ns
    .run("sh", "-c", commands.map((c) => `${c} || exit 1; echo; echo =`).join("\n"))
    .split(/^=$/m)
    .slice(0, commands.length)
    .map((part) =>
      (part.trim() === "" ? [] : (JSON.parse(part) as Json[])).filter((o) => Object.keys(o).length > 0),
    );
}

const text = (kind: string, object: Json, keys: readonly string[]): string =>
  `${kind} ${keys
    .filter((key) => object[key] !== undefined)
    .map((key) => `${key}=${Array.isArray(object[key]) ? object[key].join(",") : String(object[key])}`)
    .join(" ")}`;

function linkText(link: Json): string {
  const info = (link["linkinfo"] ?? {}) as Json;
  const data = (info["info_data"] ?? {}) as Json;
  const up = (link["flags"] as string[]).includes("UP");
  const vxlan = ["id", "local", "port", "learning", "link", "udp_csum"]
    .map((k) => `${k}=${data[k] ?? ""}`)
    .join(" ");
  return `${text("link", link, ["ifname", "mtu", "address", "ifalias", "inet6_addr_gen_mode"])} up=${up} kind=${
    info["info_kind"] ?? ""
  }${info["info_kind"] === "vxlan" ? ` ${vxlan}` : ""}`;
}

const addressTexts = (link: Json): string[] =>
  (link["addr_info"] as Json[]).map(
    (a) => `address dev=${link["ifname"]} ${a["local"]}/${a["prefixlen"]} scope=${a["scope"]}`,
  );

/** Routes of the kernel's own making come and go with addresses and links. */
const isLasting = (route: Json): boolean => route["protocol"] !== "kernel" && route["protocol"] !== "ra";

const routeText = (route: Json): string =>
  text("route", route, ["type", "dst", "gateway", "dev", "protocol", "prefsrc", "metric", "table", "flags"]);

function forwardingTexts(ns: TestNamespace, links: readonly Json[]): string[] {
  const tunnels = links.filter((l) => ((l["linkinfo"] ?? {}) as Json)["info_kind"] === "vxlan");
  return tunnels.flatMap((l) => {
    const { code, out } = ns.try("bridge", "-json", "fdb", "show", "dev", String(l["ifname"]));
    // It may be made anew in the very moment.
    if (code !== 0) return [`forwarding of ${l["ifname"]}: ${out}`];
    return (JSON.parse(out) as Json[])
      .filter((e) => e["dst"] !== undefined)
      .map((e) => `${text("forwarding", e, ["mac", "dst", "state"])} dev=${l["ifname"]}`);
  });
}

/** Tables, chains, rules and elements, without counts of packets. */
function nftTexts(ns: TestNamespace): string[] {
  const { nftables } = JSON.parse(ns.run("nft", "--json", "list", "ruleset")) as { nftables: Json[] };
  return nftables.flatMap((object) => {
    const [kind, value] = Object.entries(object)[0] as [string, Json];
    if (kind === "metainfo") return [];
    const name = ["family", "table", "name", "chain"].map((k) => value[k] ?? "").join(" ");
    if (kind === "set" || kind === "map") {
      const elements = ((value["elem"] ?? []) as unknown[]).map(
        (e) => `nft element ${name} ${JSON.stringify(e)}`,
      );
      return [`nft ${kind} ${name}`, ...elements];
    }
    const shown =
      kind === "rule" ? JSON.stringify(value["expr"]).replaceAll(/"(packets|bytes)":\d+,?/g, "") : "";
    return [`nft ${kind} ${name} ${shown}`];
  });
}
