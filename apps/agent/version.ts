import manifest from "./package.json" with { type: "json" };

/** Version of Weft. */
export const VERSION: string = manifest.version;
