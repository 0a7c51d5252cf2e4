// The gateway's HTTP interface, as any client has it. Whose request it is goes in a header, never in an address.

import { session } from "./session.js";

/** A refusal, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// A header's value is bytes; the gateway reads them as UTF-8.
const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** Send a request; the response when it is a good one, else throws ApiError. */
export async function send(path, { method = "GET", body, headers = {}, signal, key = session.key } = {}) {
  const all = { ...headers };
  if (key) all.authorization = `Bearer ${key}`;
  if (session.name) all["x-bondhu-user"] = bytesOf(session.name);
  if (body !== undefined) all["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers: all, signal, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ApiError(0, "The service does not respond. Is it running?");
  }
  if (response.ok) return response;
  const error = (await response.json().catch(() => ({}))).error ?? {};
  const wait = response.status === 429 && response.headers.get("retry-after");
  const again = wait ? ` Try again in ${wait} s.` : "";
  throw new ApiError(response.status, (error.message ?? `The service returned an error (${response.status}).`) + again, error.code);
}

export const getJson = async (path, options) => (await send(path, options)).json();

/** The chunks of a streamed completion, as they come. Throws ApiError when the stream says that it failed or just ends. */
export async function* chunksOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new ApiError(0, "The answer was interrupted.");
    const events = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data === "[DONE]") return;
      if (!data) continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(0, chunk.error.message, chunk.error.code);
      yield chunk;
    }
  }
}
