/** Container images from files of this machine, without a registry or a base image. */
export { type ImageSource, writeArchive } from "./archive.ts";
export { sharedLibraries } from "./libraries.ts";
export { SHIM, type WeftImageFiles, weftImage } from "./weft.ts";
