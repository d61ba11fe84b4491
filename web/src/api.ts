/** Requests to the server; each error becomes an Error with one line of text. */

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly content: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

const NO_SERVER = "The server does not answer; see whether tapetum serve still runs.";
const NO_TOKEN = "The server does not know this browser; open the address with its token that tapetum serve printed.";

export async function request(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(NO_SERVER, 0);
  }
  if (!response.ok) throw readError(response.status, await response.text().catch(() => ""));
  return response;
}

function readError(status: number, text: string): ApiError {
  try {
    const content = JSON.parse(text);
    if (typeof content.error === "string") return new ApiError(content.error.split("\n")[0], status, content);
  } catch {
    // not JSON: the status has to do
  }
  return new ApiError(status === 403 ? NO_TOKEN : `The server answered ${status}.`, status);
}

export async function get<T>(path: string): Promise<T> {
  return (await request(path)).json();
}

export async function post<T>(path: string, content?: unknown): Promise<T> {
  const body = content === undefined ? undefined : JSON.stringify(content);
  return (await request(path, { method: "POST", body, headers: { "Content-Type": "application/json" } })).json();
}

/** Send a file as the raw body; `progress` hears the share that is sent. */
export function upload<T>(path: string, file: File, progress: (share: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", path);
    call.setRequestHeader("Content-Type", "application/octet-stream");
    call.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    call.onerror = () => reject(new ApiError(NO_SERVER, 0));
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(readError(call.status, call.responseText));
    };
    call.send(file);
  });
}

/** Read a file of the server and hand it to the browser as a download. */
export async function download(path: string, fallback: string): Promise<void> {
  const response = await request(path);
  const named = /filename\*?=(?:UTF-8'')?"?([^";]+)"?/i.exec(response.headers.get("Content-Disposition") ?? "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = named ? decodeURIComponent(named[1]) : fallback;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
