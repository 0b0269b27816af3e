import manifest from "./package.json" with { type: "json" };

/** Put in by the build when it is given a version; otherwise there is no such name. */
declare const BUILD_VERSION: string | undefined;

/** Version of Weft. */
export const VERSION: string = typeof BUILD_VERSION === "string" ? BUILD_VERSION : manifest.version;
