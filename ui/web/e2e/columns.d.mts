/** A stack tree of the API's JSON as the bytes of its format `columns`; `data` is the span of all data. */
export function columnsOf(flame: object, data?: { from_ms: number | null; until_ms: number | null }): Uint8Array<ArrayBuffer>;
