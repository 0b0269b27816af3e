/** Of Kubernetes' own types: of which type a field, or the items of a field, are. */
import forms from "../schema/kubernetes.json";

export interface FieldType {
  /** "V1PodSpec"; undefined for plain values and whatever is unknown. */
  readonly model: string | undefined;
}

const MODELS = forms as Record<string, Record<string, string>>;

export function fieldTypes(model: string | undefined): (field: string) => FieldType {
  const fields = model === undefined ? undefined : MODELS[model];
  return (field) => {
    const form = fields !== undefined && Object.hasOwn(fields, field) ? fields[field] : undefined;
    const name = form?.replace(/^\[\]/, "").replace(/!$/, "");
    return { model: name !== undefined && name in MODELS ? name : undefined };
  };
}
